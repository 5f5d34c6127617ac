// Email/query on every kind of server: the same query over the same messages has one answer, that of a naive search
// over all of them (RFC 8621, 4.4). Printed seeds make a failure repeatable.
#include <algorithm>
#include <random>
#include <set>

#include "postern/base/encoding.hpp"
#include "unit/mail/account_fixture.hpp"

namespace postern::mail {
namespace {

struct Known {
  MailboxKey mailbox = 0;
  std::string box;
  std::uint32_t uid = 0;
  std::set<std::string> keywords;
  bool deleted = false, attachment = false;
  std::int64_t received = 0, sent = 0;
  std::string subject, from, to, body, raw, thread;
  Place place(std::uint32_t uid_validity) const { return {mailbox, uid_validity, uid}; }
};

constexpr std::array<std::string_view, 6> words{"invoice", "lunch", "report", "holiday", "garden", "music"};
constexpr std::array<std::string_view, 4> names{"Anna", "Bert", "Carla", "Dora"};
constexpr std::array<std::string_view, 4> keywords{"$seen", "$flagged", "project", "nothing"};
constexpr std::int64_t day = 86'400;

std::string date_text(std::int64_t days) { return std::to_string(1 + days) + " Mar 2024 08:00:00 +0000"; }

struct QueryTiersTest : AccountFixture, ::testing::WithParamInterface<const char*> {
  std::vector<Known> messages;
  std::map<std::string, MailboxKey> keys;
  std::mt19937 random{20240301};

  std::size_t below(std::size_t count) { return random() % count; }
  template <typename Range>
  std::string any(const Range& range) {
    return std::string(range[below(range.size())]);
  }

  void SetUp() override {
    options.capabilities = testimapd::capabilities_of(GetParam());
    options.mailboxes = {{"INBOX", "", 0}, {"Archive", "", 0}, {"Work", "", 0}, {"Empty", "", 0}};
    start();
    for (std::size_t i = 0; i < 45; ++i) deliver(i);
    for (const char* box : {"INBOX", "Archive", "Work", "Empty"}) keys[box] = mailbox(box);
    for (auto& message : messages) message.mailbox = keys[message.box];
  }

  void deliver(std::size_t i) {
    static constexpr std::array<const char*, 3> boxes{"INBOX", "Archive", "Work"};
    Known m;
    m.box = boxes[below(boxes.size())];
    m.subject = any(words) + " " + any(words) + " " + std::to_string(i);
    m.from = any(names);
    m.to = any(names);
    m.body = any(words) + " in the body";
    m.received = 1'700'000'000 + static_cast<std::int64_t>(below(40)) * day;
    const auto sent = static_cast<std::int64_t>(below(28));
    m.sent = sent;
    m.attachment = below(4) == 0;
    m.deleted = below(12) == 0;
    for (auto keyword : {"$seen", "$flagged", "project"})
      if (below(2) == 0) m.keywords.insert(keyword);
    // A third answers one of those before.
    m.thread = "root" + std::to_string(i);
    std::string references;
    if (i > 0 && below(3) == 0) {
      m.thread = messages[below(messages.size())].thread;
      references = "References: <" + m.thread + "@x>\r\n";
    }
    m.raw = "Date: " + date_text(sent) + "\r\nFrom: " + m.from + " <" + ascii_lower(m.from) +
            "@x.example>\r\nTo: " + m.to + " <" + ascii_lower(m.to) + "@x.example>\r\nSubject: " + m.subject +
            "\r\nMessage-ID: <" + (references.empty() ? m.thread : "answer" + std::to_string(i)) + "@x>\r\n" +
            references;
    if (m.attachment)
      m.raw +=
          "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + m.body +
          "\r\n--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment\r\n\r\nx\r\n--b--\r\n";
    else
      m.raw += "\r\n" + m.body + "\r\n" + std::string(below(300), '.') + "\r\n";
    std::string flags = m.deleted ? "\\Deleted" : "";
    for (const auto& keyword : m.keywords)
      flags += keyword == "$seen" ? " \\Seen" : keyword == "$flagged" ? " \\Flagged" : " " + keyword;
    m.uid = imapd->deliver("alice", m.box, m.raw, flags, m.received);
    ASSERT_NE(m.uid, 0u);
    messages.push_back(std::move(m));
  }

  // --- The naive search ---

  bool in_thread(const Known& of, const std::string& keyword, bool all) const {
    for (const auto& m : messages)
      if (!m.deleted && m.thread == of.thread && m.keywords.contains(keyword) != all) return !all;
    return all;
  }
  static bool contains(std::string_view text, std::string_view needle) {
    return ascii_lower(text).find(needle) != std::string::npos;
  }
  bool matches(const Filter& f, const Known& m) const {
    using Kind = Filter::Kind;
    const auto each = [&](const Filter& child) { return matches(child, m); };
    const bool listed = std::find(f.mailboxes.begin(), f.mailboxes.end(), m.mailbox) != f.mailboxes.end();
    switch (f.kind) {
      case Kind::all_of: return std::all_of(f.children.begin(), f.children.end(), each);
      case Kind::any_of: return std::any_of(f.children.begin(), f.children.end(), each);
      case Kind::none_of: return std::none_of(f.children.begin(), f.children.end(), each);
      case Kind::always: return true;
      case Kind::in_mailbox: return listed;
      case Kind::in_mailbox_other_than: return !listed;
      case Kind::before: return m.received < f.number;
      case Kind::after: return m.received >= f.number;
      case Kind::min_size: return m.raw.size() >= static_cast<std::size_t>(f.number);
      case Kind::max_size: return m.raw.size() < static_cast<std::size_t>(f.number);
      case Kind::has_keyword: return m.keywords.contains(f.text);
      case Kind::not_keyword: return !m.keywords.contains(f.text);
      case Kind::all_in_thread_have_keyword: return in_thread(m, f.text, true);
      case Kind::some_in_thread_have_keyword: return in_thread(m, f.text, false);
      case Kind::none_in_thread_have_keyword: return !in_thread(m, f.text, false);
      case Kind::has_attachment: return m.attachment == (f.number != 0);
      case Kind::from: return contains(m.from, f.text);
      case Kind::to: return contains(m.to, f.text);
      case Kind::subject: return contains(m.subject, f.text);
      case Kind::body: return contains(m.body, f.text);
      case Kind::text: return contains(m.raw.substr(0, m.raw.find("\r\n\r\n")) + m.body, f.text);
      default: ADD_FAILURE(); return false;
    }
  }
  int compare(const SortKey& key, const Known& a, const Known& b) const {
    using Property = SortKey::Property;
    const auto by = [](const auto& left, const auto& right) {
      return left < right ? -1 : right < left ? 1 : 0;
    };
    switch (key.property) {
      case Property::received_at: return by(a.received, b.received);
      case Property::sent_at: return by(a.sent, b.sent);
      case Property::size: return by(a.raw.size(), b.raw.size());
      case Property::from: return by(a.from, b.from);
      case Property::to: return by(a.to, b.to);
      case Property::subject: return by(a.subject, b.subject);
      case Property::has_keyword:
        return by(a.keywords.contains(key.keyword), b.keywords.contains(key.keyword));
      case Property::all_in_thread_have_keyword:
        return by(in_thread(a, key.keyword, true), in_thread(b, key.keyword, true));
      case Property::some_in_thread_have_keyword:
        return by(in_thread(a, key.keyword, false), in_thread(b, key.keyword, false));
    }
    return 0;
  }
  std::vector<Place> expected(const EmailQuery& query) const {
    std::vector<const Known*> found;
    for (const auto& m : messages)
      if (!m.deleted && matches(query.filter, m)) found.push_back(&m);
    auto sort = query.sort.keys.empty() ? Sort::newest_first() : query.sort;
    std::sort(found.begin(), found.end(), [&](const Known* a, const Known* b) {
      for (const auto& key : sort.keys)
        if (const int order = compare(key, *a, *b); order != 0) return (order < 0) == key.ascending;
      return std::pair(a->mailbox, a->uid) < std::pair(b->mailbox, b->uid);
    });
    std::set<std::string> seen;
    std::vector<Place> all;
    for (const auto* m : found)
      if (!query.collapse_threads || seen.insert(m->thread).second) all.push_back(m->place(validity(m->box)));
    return all;
  }
  // The test server counts UIDVALIDITY up from one mailbox to the next.
  std::uint32_t validity(const std::string& box) const {
    for (std::size_t i = 0; i < options.mailboxes.size(); ++i)
      if (options.mailboxes[i].name == box) return options.uidvalidity + static_cast<std::uint32_t>(i);
    return 0;
  }

  // --- Random queries ---

  Filter random_condition() {
    using Kind = Filter::Kind;
    static constexpr std::array kinds{Kind::in_mailbox,
                                      Kind::in_mailbox_other_than,
                                      Kind::before,
                                      Kind::after,
                                      Kind::min_size,
                                      Kind::max_size,
                                      Kind::has_keyword,
                                      Kind::not_keyword,
                                      Kind::all_in_thread_have_keyword,
                                      Kind::some_in_thread_have_keyword,
                                      Kind::none_in_thread_have_keyword,
                                      Kind::has_attachment,
                                      Kind::from,
                                      Kind::to,
                                      Kind::subject,
                                      Kind::body,
                                      Kind::text};
    Filter f;
    f.kind = kinds[below(kinds.size())];
    switch (f.kind) {
      case Kind::in_mailbox_other_than:
        f.mailboxes.push_back(keys[any(std::array{"INBOX", "Work"})]);
        [[fallthrough]];
      case Kind::in_mailbox: f.mailboxes.push_back(keys[any(std::array{"INBOX", "Archive", "Empty"})]); break;
      case Kind::before:
      case Kind::after: f.number = 1'700'000'000 + static_cast<std::int64_t>(below(40)) * day; break;
      case Kind::min_size:
      case Kind::max_size: f.number = 200 + static_cast<std::int64_t>(below(300)); break;
      case Kind::has_attachment: f.number = below(2) == 0 ? 0 : 1; break;
      case Kind::from:
      case Kind::to: f.text = ascii_lower(any(names)).substr(0, 3); break;
      case Kind::subject:
      case Kind::body:
      case Kind::text: f.text = any(words); break;
      default: f.text = any(keywords); break;
    }
    return f;
  }
  Filter random_filter(int depth) {
    if (depth == 0 || below(3) == 0) return random_condition();
    Filter f;
    f.kind = std::array{Filter::Kind::all_of, Filter::Kind::any_of, Filter::Kind::none_of}[below(3)];
    for (std::size_t i = 1 + below(3); i > 0; --i) f.children.push_back(random_filter(depth - 1));
    return f;
  }
  Sort random_sort() {
    Sort sort;
    for (std::size_t i = below(3); i > 0; --i) {
      SortKey key;
      key.property = static_cast<SortKey::Property>(below(9));
      key.ascending = below(2) == 0;
      if (is_keyword_property(key.property)) key.keyword = any(keywords);
      sort.keys.push_back(std::move(key));
    }
    return sort;
  }
};

std::string described(const std::vector<Place>& places) {
  std::string out;
  for (const auto& place : places)
    out += std::to_string(place.uid_validity % 100) + "/" + std::to_string(place.uid) + " ";
  return out;
}

TEST_P(QueryTiersTest, AnswersAreThoseOfANaiveSearch) {
  std::size_t with_matches = 0;
  for (int round = 0; round < 60; ++round) {
    EmailQuery query;
    query.filter = round % 10 == 0 ? Filter{} : random_filter(1 + round % 4);
    query.sort = random_sort();
    query.collapse_threads = below(2) == 0;
    query.limit = 1'000;
    const auto all = expected(query);
    auto result = await(account->query(query));
    ASSERT_TRUE(result) << round << ": " << result.error().to_string();
    ASSERT_EQ(described(result->ids), described(all)) << "round " << round;
    EXPECT_EQ(result->total, all.size());
    with_matches += all.empty() ? 0 : 1;
    if (all.empty()) continue;
    // Windows of it: from the front, from the end, around an Email.
    query.limit = 1 + below(5);
    const auto window = [&](std::int64_t first) {
      first = std::clamp<std::int64_t>(first, 0, static_cast<std::int64_t>(all.size()));
      const auto last = std::min<std::int64_t>(first + static_cast<std::int64_t>(query.limit),
                                               static_cast<std::int64_t>(all.size()));
      return described(std::vector<Place>(all.begin() + first, all.begin() + last));
    };
    query.position = static_cast<std::int64_t>(below(2 * all.size()));
    EXPECT_EQ(described(await(account->query(query))->ids), window(query.position)) << round;
    query.position = -static_cast<std::int64_t>(1 + below(all.size() + 3));
    EXPECT_EQ(described(await(account->query(query))->ids),
              window(static_cast<std::int64_t>(all.size()) + query.position))
        << round;
    const auto at = below(all.size());
    query.anchor = all[at];
    query.anchor_offset = static_cast<std::int64_t>(below(7)) - 3;
    const auto around = await(account->query(query));
    ASSERT_TRUE(around);
    EXPECT_EQ(described(around->ids), window(static_cast<std::int64_t>(at) + query.anchor_offset)) << round;
    query.anchor = Place{keys["INBOX"], validity("INBOX"), 9'999};
    const auto no_anchor = await(account->query(query));
    ASSERT_FALSE(no_anchor);
    EXPECT_EQ(no_anchor.error().code, make_error_code(Errc::anchor_not_found));
  }
  EXPECT_GT(with_matches, 30u);
}

INSTANTIATE_TEST_SUITE_P(Servers, QueryTiersTest,
                         ::testing::Values("full", "dovecot", "cyrus", "courier", "gmail", "minimal"),
                         [](const auto& tier) { return tier.param; });

}  // namespace
}  // namespace postern::mail
