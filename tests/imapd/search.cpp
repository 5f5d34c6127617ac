// Reading and evaluating SEARCH keys; see search.hpp.
#include "search.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "session.hpp"

namespace postern::testimapd {

namespace {

using SearchKind = SearchKey::Kind;

std::string header_values(const Message& message, std::string_view name) {
  auto raw = message.raw();
  auto header = std::string_view(raw).substr(0, message.body->root.body_begin);
  std::string out;
  for (const HeaderField& field : parse_header(header))
    if (iequals(field.name, name)) out += decode_words(unfold(field.value)) + "\n";
  return out;
}

bool has_header(const Message& message, std::string_view name, std::string_view value) {
  return icontains(header_values(message, name), value) && !header_values(message, name).empty();
}

void append_text_parts(std::string& out, std::string_view raw, const Part& part) {
  for (const Part& child : part.children) append_text_parts(out, raw, child);
  if (!part.children.empty() || part.type != "TEXT") return;
  auto body = raw.substr(part.body_begin, part.body_end - part.body_begin);
  if (part.encoding == "BASE64")
    out += base64_decode(body).value_or("");
  else if (part.encoding == "QUOTED-PRINTABLE")
    out += decode_quoted_printable(body);
  else
    out += body;
  out += '\n';
}

bool in_body(const Message& message, std::string_view value, bool with_header) {
  auto raw = message.raw();
  std::string text;
  if (with_header) text = decode_words(std::string_view(raw).substr(0, message.body->root.body_begin));
  append_text_parts(text, raw, message.body->root);
  return icontains(text, value);
}

std::int64_t day_of(std::int64_t time) { return time >= 0 ? time / 86400 : (time - 86399) / 86400; }

std::int64_t sent_day(const Message& message) {
  const Body& body = *message.body;
  return body.sent_slot || !body.sent_known ? day_of(sent_time(message)) : body.sent.day;
}

bool compare_day(SearchKind before, SearchKind on, SearchKind kind, std::int64_t day, std::int64_t wanted) {
  return kind == before ? day < wanted : kind == on ? day == wanted : day >= wanted;
}

}  // namespace

std::int64_t sent_time(const Message& message) {
  const Body& body = *message.body;
  if (body.sent_slot) return message.slots().date;
  return body.sent_known ? body.sent.time : message.internal_date;
}

std::string base_subject_of(const Message& message) {
  return message.body->base_subject.fill(message.slots());
}

SearchKey SearchParser::parse() {
  if (args_.try_word("CHARSET")) {
    args_.sp();
    auto charset = upper(args_.astring());
    if (charset != "UTF-8" && charset != "US-ASCII") args_.fail();
    args_.sp();
  }
  SearchKey all;
  all.kind = SearchKind::all_of;
  do all.children.push_back(key(0));
  while (!args_.failed() && args_.try_char(' '));
  args_.end();
  return all;
}

SearchKey SearchParser::key(unsigned depth) {
  SearchKey out;
  if (depth > search_depth_max) {
    args_.fail();
    return out;
  }
  if (args_.try_char('(')) {
    out.kind = SearchKind::all_of;
    do out.children.push_back(key(depth + 1));
    while (!args_.failed() && args_.try_char(' '));
    args_.expect(')');
    return out;
  }
  char c = args_.peek();
  if ((c >= '0' && c <= '9') || c == '*' || c == '$') {
    out.kind = SearchKind::sequence;
    out.set = args_.number_set();
    if (out.set.saved_result && !offers_("SEARCHRES")) args_.fail();
    return out;
  }
  auto word = args_.upper_atom();
  if (word == "NOT") {
    out.kind = SearchKind::negation;
    args_.sp();
    out.children.push_back(key(depth + 1));
  } else if (word == "OR") {
    out.kind = SearchKind::either;
    args_.sp();
    out.children.push_back(key(depth + 1));
    args_.sp();
    out.children.push_back(key(depth + 1));
  } else if (word == "UID") {
    out.kind = SearchKind::uid;
    args_.sp();
    out.set = args_.number_set();
  } else if (word == "LARGER" || word == "SMALLER") {
    out.kind = word == "LARGER" ? SearchKind::larger : SearchKind::smaller;
    args_.sp();
    out.number = args_.number64();
  } else if (word != "ALL" && !flag_key(word, out) && !text_key(word, out) && !date_key(word, out) &&
             !extension_key(word, out)) {
    args_.fail();
  }
  return out;
}

bool SearchParser::flag_key(std::string_view word, SearchKey& out) {
  if (word == "KEYWORD" || word == "UNKEYWORD") {
    out.kind = SearchKind::flag;
    args_.sp();
    out.name = args_.atom();
    out.number = word == "KEYWORD" ? 1 : 0;
    return true;
  }
  if (word == "RECENT" || word == "OLD" || word == "NEW") {
    out.kind = SearchKind::recent;
    out.number = word == "OLD" ? 0 : word == "RECENT" ? 1 : 2;
    return true;
  }
  bool wanted = !word.starts_with("UN");
  auto name = wanted ? word : word.substr(2);
  for (std::string_view flag : {"ANSWERED", "DELETED", "DRAFT", "FLAGGED", "SEEN"})
    if (name == flag) {
      out.kind = SearchKind::flag;
      out.name = "\\" + std::string(flag);
      out.number = wanted ? 1 : 0;
      return true;
    }
  return false;
}

bool SearchParser::text_key(std::string_view word, SearchKey& out) {
  static constexpr std::pair<std::string_view, SearchKind> kinds[] = {
      {"FROM", SearchKind::from}, {"TO", SearchKind::to},           {"CC", SearchKind::cc},
      {"BCC", SearchKind::bcc},   {"SUBJECT", SearchKind::subject}, {"HEADER", SearchKind::header},
      {"BODY", SearchKind::body}, {"TEXT", SearchKind::text},
  };
  for (auto [name, kind] : kinds) {
    if (name != word) continue;
    out.kind = kind;
    out.name = kind == SearchKind::header ? std::string() : std::string(name);
    args_.sp();
    if (kind == SearchKind::header) {
      out.name = args_.astring();
      args_.sp();
    }
    out.value = lower(args_.astring());
    return true;
  }
  return false;
}

bool SearchParser::date_key(std::string_view word, SearchKey& out) {
  static constexpr std::pair<std::string_view, SearchKind> kinds[] = {
      {"BEFORE", SearchKind::before},
      {"ON", SearchKind::on},
      {"SINCE", SearchKind::since},
      {"SENTBEFORE", SearchKind::sent_before},
      {"SENTON", SearchKind::sent_on},
      {"SENTSINCE", SearchKind::sent_since},
      {"SAVEDBEFORE", SearchKind::save_before},
      {"SAVEDON", SearchKind::save_on},
      {"SAVEDSINCE", SearchKind::save_since},
  };
  for (auto [name, kind] : kinds) {
    if (name != word || (name.starts_with("SAVED") && !offers_("SAVEDATE"))) continue;
    out.kind = kind;
    args_.sp();
    auto day = parse_search_day(args_.astring());
    if (!day) args_.fail();
    out.day = day.value_or(0);
    return true;
  }
  return false;
}

bool SearchParser::extension_key(std::string_view word, SearchKey& out) {
  if ((word == "OLDER" || word == "YOUNGER") && offers_("WITHIN")) {
    out.kind = word == "OLDER" ? SearchKind::older : SearchKind::younger;
    args_.sp();
    out.number = args_.number();
    return true;
  }
  if (word == "MODSEQ" && offers_("CONDSTORE")) {
    out.kind = SearchKind::modseq;
    args_.sp();
    if (args_.peek() == '"') {  // entry name and type, RFC 7162 section 3.1.5: ignored
      args_.string();
      args_.sp();
      args_.atom();
      args_.sp();
    }
    out.number = args_.number64();
    modseq_seen_ = true;
    return true;
  }
  if (word == "EMAILID" && offers_("OBJECTID")) {
    out.kind = SearchKind::email_id;
    args_.sp();
    out.value = args_.astring();
    return true;
  }
  if (word == "X-GM-MSGID" && offers_("X-GM-EXT-1")) {
    out.kind = SearchKind::gm_msgid;
    args_.sp();
    out.number = args_.number64();
    return true;
  }
  return false;
}

bool matches(const SearchKey& key, const Message& message, const SearchContext& context) {
  auto each = [&](const SearchKey& child) { return matches(child, message, context); };
  switch (key.kind) {
    case SearchKind::all: return true;
    case SearchKind::all_of: return std::all_of(key.children.begin(), key.children.end(), each);
    case SearchKind::either: return std::any_of(key.children.begin(), key.children.end(), each);
    case SearchKind::negation: return !each(key.children.front());
    case SearchKind::flag: {
      auto bit = context.mailbox->flag_bit(key.name);
      return ((message.flags & bit) != 0) == (key.number == 1);
    }
    case SearchKind::recent: {
      bool recent = message.uid >= context.recent_from;
      return key.number == 0 ? !recent : recent && (key.number == 1 || (message.flags & flag_seen) == 0);
    }
    case SearchKind::sequence:
    case SearchKind::uid: return key.set.contains(message.uid);
    case SearchKind::before:
    case SearchKind::on:
    case SearchKind::since:
      return compare_day(SearchKind::before, SearchKind::on, key.kind, day_of(message.internal_date),
                         key.day);
    case SearchKind::sent_before:
    case SearchKind::sent_on:
    case SearchKind::sent_since:
      return compare_day(SearchKind::sent_before, SearchKind::sent_on, key.kind, sent_day(message), key.day);
    case SearchKind::save_before:
    case SearchKind::save_on:
    case SearchKind::save_since:
      return compare_day(SearchKind::save_before, SearchKind::save_on, key.kind, day_of(message.save_date),
                         key.day);
    case SearchKind::larger: return message.size() > key.number;
    case SearchKind::smaller: return message.size() < key.number;
    case SearchKind::from:
    case SearchKind::to:
    case SearchKind::cc:
    case SearchKind::bcc:
    case SearchKind::subject:
    case SearchKind::header: return has_header(message, key.name, key.value);
    case SearchKind::body: return in_body(message, key.value, false);
    case SearchKind::text: return in_body(message, key.value, true);
    case SearchKind::modseq: return message.modseq >= key.number;
    case SearchKind::older:
      return message.internal_date <= context.now - static_cast<std::int64_t>(key.number);
    case SearchKind::younger:
      return message.internal_date >= context.now - static_cast<std::int64_t>(key.number);
    case SearchKind::email_id: return key.value == fmt::format("M{:016x}", message.email_id);
    case SearchKind::gm_msgid: return message.email_id == key.number;
  }
  return false;
}

}  // namespace postern::testimapd
