// postern-testimapd: the counting IMAP test server as a program, for benchmarks and end-to-end tests.
//
//   postern-testimapd [--listen ADDR]... [--port N] [--tls] [--tls-cert FILE --tls-key FILE] [--users N]
//       [--password TEXT] [--user LOGIN:PASSWORD]... [--messages N] [--mailbox NAME[:N[:\Use]]]... [--caps LIST|KIND]
//       [--caps-before-login LIST] [--separator C|NIL] [--prefix TEXT] [--quirk NAME]... [--master LOGIN:PASSWORD]
//       [--token LOGIN:TOKEN]... [--latency MS] [--log-entries N] [--control-port N] [--control-socket PATH]
//
// Prints `listening on ADDR:PORT` for each --listen, then `control on ...`, then `ready`. --tls means TLS from the
// first byte (IMAPS); with a certificate and without --tls there is STARTTLS. --users N gives user0 ... userN-1.
// The control line protocol is in control.cpp; each answer is one line. Ends by SIGTERM, SIGINT or `quit`.
// Threads: the server's own, and the main thread for the control connections. Bounds: control_line_bytes_max.
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>

#include <sys/resource.h>
#include <unistd.h>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>

#include "imapd/test_imapd.hpp"
#include "imapd/text.hpp"

namespace {

using namespace postern::testimapd;  // NOLINT(google-build-using-namespace): a program of its own
constexpr std::size_t control_line_bytes_max = 1U << 20U;

struct Arguments {
  Options options;
  std::vector<std::string> addresses;
  std::uint16_t port = 0;
  bool tls = false;
  std::optional<std::uint32_t> messages;
  std::vector<SampleMailbox> mailboxes;
  std::optional<std::uint16_t> control_port;
  std::string control_socket;
};

[[noreturn]] void usage(const std::string& reason) {
  std::cerr << "postern-testimapd: " << reason << "\n";
  std::exit(2);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) usage("can't read " + path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::uint32_t number(const std::string& text, std::uint64_t most = 0xFFFFFFFFU) {
  auto value = to_number(text);
  if (!value || *value > most) usage("not a number: " + text);
  return static_cast<std::uint32_t>(*value);
}

std::pair<std::string, std::string> pair_of(const std::string& text) {
  auto colon = text.find(':');
  if (colon == std::string::npos) usage("expected NAME:VALUE: " + text);
  return {text.substr(0, colon), text.substr(colon + 1)};
}

std::vector<std::string> capability_list(std::string text) {
  if (text.find_first_of(", ") == std::string::npos && !iequals(text.substr(0, 4), "IMAP"))
    return capabilities_of(text);
  for (char& c : text)
    if (c == ',') c = ' ';
  std::vector<std::string> out;
  for (auto word : words(text)) out.emplace_back(word);
  return out;
}

SampleMailbox mailbox_of(const std::string& text) {
  SampleMailbox mailbox;
  auto first = text.find(':');
  mailbox.name = text.substr(0, first);
  if (first != std::string::npos) {
    auto second = text.find(':', first + 1);
    mailbox.messages =
        number(text.substr(first + 1, second == std::string::npos ? second : second - first - 1));
    if (second != std::string::npos) mailbox.special_use = text.substr(second + 1);
  }
  return mailbox;
}

void set_quirk(Quirks& quirks, const std::string& name) {
  static constexpr std::pair<std::string_view, bool Quirks::*> names[] = {
      {"nil_strings", &Quirks::nil_strings},
      {"eight_bit_quoted", &Quirks::eight_bit_quoted},
      {"extra_spaces", &Quirks::extra_spaces},
      {"no_text", &Quirks::no_text},
      {"lower_case", &Quirks::lower_case},
      {"capability_untagged", &Quirks::capability_untagged},
      {"list_unknown_flags", &Quirks::list_unknown_flags},
      {"literal8", &Quirks::literal8},
      {"fetch_flags_always", &Quirks::fetch_flags_always},
      {"status_no_selected", &Quirks::status_no_selected},
      {"no_delete_selected", &Quirks::no_delete_selected},
      {"rename_uidvalidity", &Quirks::rename_uidvalidity},
      {"select_no_uidnext", &Quirks::select_no_uidnext},
  };
  if (name == "no_capability_code") {
    quirks.capability_code = false;
    return;
  }
  for (auto [known, member] : names)
    if (known == name) {
      quirks.*member = true;
      return;
    }
  usage("unknown quirk " + name);
}

void set_argument(Arguments& arguments, const std::string& name, const std::string& value) {
  Options& options = arguments.options;
  if (name == "--listen")
    arguments.addresses.push_back(value);
  else if (name == "--port")
    arguments.port = static_cast<std::uint16_t>(number(value, 65535));
  else if (name == "--tls-cert")
    options.tls_certificate_pem = read_file(value);
  else if (name == "--tls-key")
    options.tls_key_pem = read_file(value);
  else if (name == "--users")
    options.generated_users = number(value);
  else if (name == "--password")
    options.generated_password = value;
  else if (name == "--user")
    options.users.insert(pair_of(value));
  else if (name == "--messages")
    arguments.messages = number(value, 9'999'999);
  else if (name == "--mailbox")
    arguments.mailboxes.push_back(mailbox_of(value));
  else if (name == "--caps")
    options.capabilities = capability_list(value);
  else if (name == "--caps-before-login")
    options.capabilities_before_login = capability_list(value);
  else if (name == "--separator")
    options.separator = value == "NIL" || value.empty() ? '\0' : value[0];
  else if (name == "--prefix")
    options.prefix = value;
  else if (name == "--quirk")
    set_quirk(options.quirks, value);
  else if (name == "--master")
    std::tie(options.master_user, options.master_password) = pair_of(value);
  else if (name == "--token")
    options.oauth_tokens.insert(pair_of(value));
  else if (name == "--latency")
    options.latency_ms = number(value);
  else if (name == "--log-entries")
    options.log_entries_max = number(value);
  else if (name == "--control-port")
    arguments.control_port = static_cast<std::uint16_t>(number(value, 65535));
  else if (name == "--control-socket")
    arguments.control_socket = value;
  else
    usage("unknown argument " + name);
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  arguments.options.log_entries_max = 10000;
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    if (name == "--tls") {
      arguments.tls = true;
      continue;
    }
    if (i + 1 == argc) usage(name + " expects a value");
    set_argument(arguments, name, argv[++i]);
  }
  if (arguments.addresses.empty()) arguments.addresses.emplace_back("127.0.0.1");
  if (arguments.tls && arguments.options.tls_certificate_pem.empty())
    usage("--tls expects --tls-cert and --tls-key");
  arguments.options.listen.clear();
  for (const std::string& address : arguments.addresses)
    arguments.options.listen.push_back({address, arguments.port, arguments.tls});
  if (!arguments.mailboxes.empty()) arguments.options.mailboxes = arguments.mailboxes;
  if (arguments.messages)
    for (SampleMailbox& mailbox : arguments.options.mailboxes)
      if (mailbox.name == "INBOX") mailbox.messages = *arguments.messages;
  return arguments;
}

// Serves control connections of either kind until the context is stopped.
template <class Protocol>
class ControlListener {
 public:
  ControlListener(boost::asio::io_context& context, TestImapd& server,
                  const typename Protocol::endpoint& endpoint)
      : context_(context), server_(server), acceptor_(context, endpoint) {
    accept();
  }
  auto endpoint() const { return acceptor_.local_endpoint(); }

 private:
  struct Client {
    explicit Client(typename Protocol::socket connected) : socket(std::move(connected)) {}
    typename Protocol::socket socket;
    std::string input, output;
  };
  void accept() {
    acceptor_.async_accept([this](boost::system::error_code error, typename Protocol::socket socket) {
      if (error) return;
      read(std::make_shared<Client>(std::move(socket)));
      accept();
    });
  }
  void read(std::shared_ptr<Client> client) {
    auto buffer = boost::asio::dynamic_buffer(client->input, control_line_bytes_max);
    boost::asio::async_read_until(client->socket, buffer, '\n',
                                  [this, client](boost::system::error_code error, std::size_t bytes) {
                                    if (!error) answer(client, bytes);
                                  });
  }
  void answer(std::shared_ptr<Client> client, std::size_t bytes) {
    std::string line(trim(std::string_view(client->input).substr(0, bytes)));
    client->input.erase(0, bytes);
    if (line == "quit") {
      context_.stop();
      return;
    }
    client->output = server_.control(line) + "\n";
    boost::asio::async_write(client->socket, boost::asio::buffer(client->output),
                             [this, client](boost::system::error_code error, std::size_t) {
                               if (!error) read(client);
                             });
  }

  boost::asio::io_context& context_;
  TestImapd& server_;
  typename Protocol::acceptor acceptor_;
};

void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

int run(Arguments arguments) {
  raise_file_limit();
  auto addresses = arguments.addresses;
  TestImapd server(std::move(arguments.options));
  server.start();
  for (std::size_t i = 0; i < addresses.size(); ++i)
    std::cout << "listening on " << addresses[i] << ":" << server.port(i) << "\n";
  boost::asio::io_context context(1);
  boost::asio::signal_set signals(context, SIGTERM, SIGINT);
  signals.async_wait([&](boost::system::error_code, int) { context.stop(); });
  std::optional<ControlListener<boost::asio::ip::tcp>> tcp_control;
  std::optional<ControlListener<boost::asio::local::stream_protocol>> unix_control;
  if (arguments.control_port) {
    tcp_control.emplace(
        context, server,
        boost::asio::ip::tcp::endpoint(boost::asio::ip::address_v4::loopback(), *arguments.control_port));
    std::cout << "control on 127.0.0.1:" << tcp_control->endpoint().port() << "\n";
  }
  if (!arguments.control_socket.empty()) {
    ::unlink(arguments.control_socket.c_str());
    unix_control.emplace(context, server,
                         boost::asio::local::stream_protocol::endpoint(arguments.control_socket));
    std::cout << "control on " << arguments.control_socket << "\n";
  }
  std::cout << "ready" << std::endl;
  context.run();
  server.stop();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse(argc, argv));
  } catch (const std::exception& error) {
    std::cerr << "postern-testimapd: " << error.what() << "\n";
    return 1;
  }
}
