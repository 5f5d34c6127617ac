// methods_bench SIZE... - what each JMAP method costs at mailboxes of these sizes, as lines of JSON: processor time and
// allocations of the thread that answers, IMAP commands and octets. The IMAP server is the tests' own, in a thread
// of its own.
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <new>
#include <optional>

#include <fmt/format.h>

#include "imapd/test_imapd.hpp"
#include "postern/base/log.hpp"
#include "postern/jmap/api.hpp"
#include "postern/jmap/json.hpp"
#include "postern/mail/account.hpp"

namespace {
thread_local std::uint64_t allocations = 0;
}

// Every allocation of this program; each thread counts its own.
void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace postern::bench {
namespace {

using namespace std::chrono_literals;

constexpr int repeats = 20;
constexpr const char* list_properties =
    R"(["id","threadId","mailboxIds","keywords","size","receivedAt","subject","from","to","preview","hasAttachment"])";
constexpr const char* open_properties =
    R"(["id","subject","from","to","cc","bodyValues","textBody","htmlBody","attachments","bodyStructure"])";

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

class Bench {
 public:
  explicit Bench(std::uint32_t size) : size_(size) {
    char name[] = "/tmp/postern-methods-XXXXXX";
    directory_ = ::mkdtemp(name);
    testimapd::Options imap;
    imap.mailboxes.front().messages = size;
    imapd_ = std::make_unique<testimapd::TestImapd>(std::move(imap));
    imapd_->start();
    session::ServerOptions options;
    options.tls = session::TlsMode::none;
    options.endpoint = {"127.0.0.1", imapd_->port()};
    server_ = session::Server::make(loop_, options).value();
    store::SegmentOptions segment;
    segment.path = directory_ + "/segment";
    segment.sessions_max = segment.accounts_max = segment.redirects_max = 1'024;
    store::RecoveryReport report;
    segment_ = store::SegmentWriter::open(segment, clock_, report).value();
    Result<> problem;
    uploads_ = blobs::UploadStore::open({directory_ + "/uploads", {}, false}, clock_, random_, problem);
    session::Credentials credentials;
    credentials.login = "alice";
    credentials.secret = Secret("secret");
    account_ = std::make_shared<mail::Account>(
        mail::AccountContext{loop_, *server_, *segment_, fragments_, {}, nullptr, uploads_.get()}, 42,
        std::move(credentials), "");
  }
  ~Bench() {
    account_.reset();
    loop_.poll();
    segment_.reset();
    std::filesystem::remove_all(directory_);
  }

  void run();

 private:
  // One request, from octets to octets.
  std::string answer(const std::string& calls) {
    jmap::CallContext context{*account_, "A1", limits_, {}, "s1"};
    context.clock = &clock_;
    context.random = &random_;
    std::optional<jmap::ApiResponse> response;
    loop_.spawn(
        [](io::Task<jmap::ApiResponse> task, std::optional<jmap::ApiResponse>& out) -> io::Task<> {
          out.emplace(co_await std::move(task));
        }(jmap::handle_api_request(R"({"using":["urn:ietf:params:jmap:core"],"methodCalls":[)" + calls + "]}",
                                                                                    std::move(context)),
                                                                                    response));
    while (!response) {
      loop_.poll();
      if (!response) loop_.context().run_one_for(5ms);
    }
    if (response->body.find("[\"error\"") != std::string::npos) {
      std::cerr << calls.substr(0, 400) << "\n" << response->body.substr(0, 2'000) << "\n";
      std::exit(1);
    }
    return std::move(response->body);
  }
  rapidjson::Document ask(const std::string& calls) {
    rapidjson::Document document;
    document.Parse(answer(calls).c_str());
    return document;
  }
  // Until what goes on behind has ended.
  void settle() {
    auto before = imapd_->counts().bytes_in;
    for (int quiet = 0; quiet < 30; ++quiet) {
      loop_.context().run_one_for(10ms);
      loop_.poll();
      const auto now = imapd_->counts().bytes_in;
      if (now != std::exchange(before, now)) quiet = 0;
    }
  }
  static std::string call(const std::string& name, const std::string& arguments,
                          const std::string& id = "c") {
    return "[\"" + name + R"(",{"accountId":"A1")" + arguments + "},\"" + id + "\"]";
  }
  std::string page(const std::string& more = {}) const {
    return call("Email/query", R"(,"filter":{"inMailbox":")" + inbox_ + R"("},"limit":50)" + more, "q") +
           "," +
           call("Email/get",
                R"(,"#ids":{"resultOf":"q","name":"Email/query","path":"/ids"},"properties":)" +
                    std::string(list_properties),
                "g");
  }
  std::string found(const std::string& condition, const std::string& more = {}) const {
    return call("Email/query", R"(,"filter":{"operator":"AND","conditions":[{"inMailbox":")" + inbox_ +
                                   "\"}," + condition + R"(]},"limit":50)" + more);
  }
  // `calls(i)` is the request of the i-th time.
  template <typename Calls>
  void measure(const std::string& what, int times, Calls calls) {
    settle();
    imapd_->reset_counts();
    const auto allocations_before = allocations;
    const auto begin = processor_seconds();
    for (int i = 0; i < times; ++i) answer(calls(i));
    const auto seconds = processor_seconds() - begin;
    const auto made = allocations - allocations_before;
    settle();
    const auto counts = imapd_->counts();
    std::uint64_t commands = 0;
    for (const auto& [name, count] : counts.commands)
      if (name != "IDLE" && name != "DONE") commands += count;
    std::cout
        << fmt::format(
               R"({{"size":{},"what":"{}","cpu_s":{:.9f},"allocations":{},"commands":{:.2f},"octets":{}}})",
               size_, what, seconds / times, made / static_cast<std::uint64_t>(times),
               static_cast<double>(commands) / times,
               (counts.bytes_in + counts.bytes_out) / static_cast<std::uint64_t>(times))
        << std::endl;
  }
  void measure(const std::string& what, int times, const std::string& calls) {
    measure(what, times, [&](int) { return calls; });
  }
  void measure_reads();
  void measure_mailboxes();
  void measure_writes();
  void measure_changes();
  void measure_parts();

  const std::uint32_t size_;
  std::string directory_, inbox_, archive_, thread_;
  std::vector<std::string> ids_;
  SystemClock clock_;
  SystemRandom random_;
  NullLogger logger_;
  io::Loop loop_{clock_, random_, logger_};
  jmap::Limits limits_;
  mail::FragmentCache fragments_{256u << 20};
  std::unique_ptr<testimapd::TestImapd> imapd_;
  std::unique_ptr<session::Server> server_;
  std::unique_ptr<store::SegmentWriter> segment_;
  std::unique_ptr<blobs::UploadStore> uploads_;
  std::shared_ptr<mail::Account> account_;
};

void Bench::measure_reads() {
  measure("first page, nothing known", 1, page());
  measure("page", repeats, page());
  measure("second page", 1, page(R"(,"position":50)"));
  const auto document = ask(page(R"(,"limit":50)"));
  for (const auto& id : document["methodResponses"][0][1]["ids"].GetArray())
    ids_.emplace_back(id.GetString());
  thread_ = document["methodResponses"][1][1]["list"][0]["threadId"].GetString();
  const auto open = [&](int i) {
    return call("Email/get", R"(,"ids":[")" + ids_.at(static_cast<std::size_t>(i)) + R"("],"properties":)" +
                                 open_properties + R"(,"fetchAllBodyValues":true)");
  };
  measure("Email/get, message opened", repeats, open);
  measure("Email/get, again", repeats, open);
  measure("Email/query by size, first", 1, page(R"(,"sort":[{"property":"size"}])"));
  measure("Email/query by size", repeats, page(R"(,"sort":[{"property":"size"}])"));
  measure("Email/query by subject, first", 1, page(R"(,"sort":[{"property":"subject"}])"));
  measure("Email/query by subject", repeats, page(R"(,"sort":[{"property":"subject"}])"));
  measure("Email/query, unread", repeats, found(R"({"notKeyword":"$seen"})"));
  measure("Email/query, text, first", 1, found(R"({"text":"message"})"));
  measure("Email/query, text", repeats, found(R"({"text":"message"})"));
  measure("SearchSnippet/get of 10, first", 1, [&](int) {
    std::string ids;
    for (int i = 0; i < 10; ++i) ids += (i > 0 ? ",\"" : "\"") + ids_[static_cast<std::size_t>(i)] + "\"";
    return call("SearchSnippet/get", R"(,"filter":{"text":"message"},"emailIds":[)" + ids + "]");
  });
  measure("Thread/get, first", 1, call("Thread/get", R"(,"ids":[")" + thread_ + "\"]"));
  measure("Thread/get", repeats, call("Thread/get", R"(,"ids":[")" + thread_ + "\"]"));
}

void Bench::measure_mailboxes() {
  measure("Mailbox/get", repeats, call("Mailbox/get", R"(,"ids":null)"));
  measure("Mailbox/query", repeats, call("Mailbox/query", R"(,"sortAsTree":true)"));
  const auto queried = ask(call("Mailbox/query", ""));
  measure("Mailbox/queryChanges", repeats,
          call("Mailbox/queryChanges",
               R"(,"sinceQueryState":")" +
                   std::string(queried["methodResponses"][0][1]["queryState"].GetString()) + "\""));
  measure("Mailbox/set, create", repeats, [&](int i) {
    return call("Mailbox/set", fmt::format(R"(,"create":{{"c":{{"name":"Folder {}"}}}})", i));
  });
}

void Bench::measure_changes() {
  for (const std::string type : {"Email", "Mailbox", "Thread"}) {
    const auto get = ask(call(type + "/get", R"(,"ids":[])"));
    const std::string state = get["methodResponses"][0][1]["state"].GetString();
    measure(type + "/changes, nothing new", repeats,
            call(type + "/changes", R"(,"sinceState":")" + state + "\""));
  }
  const auto queried = ask(page());
  const std::string since = queried["methodResponses"][0][1]["queryState"].GetString();
  imapd_->control("deliver alice INBOX 5");
  const auto changes = call("Email/queryChanges", R"(,"filter":{"inMailbox":")" + inbox_ +
                                                      R"("},"sinceQueryState":")" + since + "\"");
  measure("Email/queryChanges, 5 new, first", 1, changes);
  measure("Email/queryChanges, 5 new", repeats, changes);
  measure("page, 5 new", 1, page());
}

void Bench::measure_writes() {
  const auto id = [&](int i) { return ids_.at(static_cast<std::size_t>(i)); };
  const auto set = [&](int i, const std::string& patch) {
    return call("Email/set", R"(,"update":{")" + id(i) + "\":" + patch + "}");
  };
  measure("Email/set, keyword", repeats, [&](int i) { return set(i, R"({"keywords/$flagged":true})"); });
  measure("Email/set, moved", repeats,
          [&](int i) { return set(i, R"({"mailboxIds":{")" + archive_ + R"(":true}})"); });
  measure("Email/set, destroyed", repeats,
          [&](int i) { return call("Email/set", R"(,"destroy":[")" + id(25 + i) + "\"]"); });
  measure("Email/set, created", repeats, [&](int) {
    return call("Email/set", R"(,"create":{"d":{"mailboxIds":{")" + inbox_ +
                                 R"(":true},"subject":"new","bodyValues":{"1":{"value":"hello"}},)"
                                 R"("textBody":[{"partId":"1","type":"text/plain"}]}})");
  });
}

// Of ten times the parts ten times the cost.
void Bench::measure_parts() {
  for (const int parts : {900, 9'000}) {
    std::string raw = "Subject: many\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n";
    for (int i = 1; i <= parts; ++i) raw += fmt::format("--b\r\n\r\npart {}\r\n", i);
    imapd_->deliver("alice", "INBOX", raw + "--b--\r\n");
    settle();
    const auto queried = ask(call("Email/query", R"(,"sort":[{"property":"receivedAt"}],"position":-1)"));
    const std::string id = queried["methodResponses"][0][1]["ids"][0].GetString();
    measure(fmt::format("Email/get, message of {} parts opened", parts), 1,
            call("Email/get", R"(,"ids":[")" + id + R"("],"properties":)" + open_properties +
                                  R"(,"fetchAllBodyValues":true)"));
  }
}

void Bench::run() {
  const auto listed = ask(call("Mailbox/get", R"(,"ids":null)"));
  for (const auto& box : listed["methodResponses"][0][1]["list"].GetArray()) {
    const std::string role = box["role"].IsString() ? box["role"].GetString() : "";
    if (role == "inbox") inbox_ = box["id"].GetString();
    if (role == "archive") archive_ = box["id"].GetString();
  }
  measure_reads();
  std::cout << fmt::format(R"({{"size":{},"what":"index, octets a message","view_bytes":{}}})", size_,
                           account_->view_bytes())
            << std::endl;
  measure_mailboxes();
  measure_changes();
  measure_writes();
  measure_parts();
}

}  // namespace
}  // namespace postern::bench

int main(int count, char** arguments) {
  for (int i = 1; i < count; ++i)
    postern::bench::Bench(static_cast<std::uint32_t>(std::strtoul(arguments[i], nullptr, 10))).run();
  return 0;
}
