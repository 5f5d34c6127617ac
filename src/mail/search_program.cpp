// Filters written as SEARCH keys and sorts as SORT criteria. A client's words become CommandBuilder's strings, never
// raw text.
#include "mail/search_program.hpp"

#include <algorithm>

#include "postern/base/encoding.hpp"

namespace postern::mail {
namespace {

using imap::Capability;

std::string_view sort_criterion(SortKey::Property property) {
  switch (property) {
    case SortKey::Property::received_at: return "ARRIVAL";
    case SortKey::Property::sent_at: return "DATE";
    case SortKey::Property::size: return "SIZE";
    case SortKey::Property::from:
      return "DISPLAYFROM";  // RFC 5957: by name, else by address, as RFC 8621 wants
    case SortKey::Property::to: return "DISPLAYTO";
    case SortKey::Property::subject: return "SUBJECT";
    case SortKey::Property::has_keyword: return {};
  }
  return {};
}

bool needs_charset(const Filter& filter) {
  return !is_ascii(filter.text) || std::any_of(filter.children.begin(), filter.children.end(), needs_charset);
}

std::string_view search_key(Filter::Kind kind) {
  switch (kind) {
    case Filter::Kind::text: return "TEXT";
    case Filter::Kind::from: return "FROM";
    case Filter::Kind::to: return "TO";
    case Filter::Kind::cc: return "CC";
    case Filter::Kind::bcc: return "BCC";
    case Filter::Kind::subject: return "SUBJECT";
    case Filter::Kind::body: return "BODY";
    default: return {};
  }
}

void write_words(imap::CommandBuilder& out, const Filter& filter) {
  auto words = search_words(filter.text);
  if (words.empty()) words.emplace_back();
  if (words.size() > 1) out.raw("(");
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out.sp();
    out.raw(search_key(filter.kind)).sp().string(words[i]);
  }
  if (words.size() > 1) out.raw(")");
}

// OR takes two keys: OR a OR b c.
void write_filter(imap::CommandBuilder& out, const Filter& filter);
void write_any(imap::CommandBuilder& out, const std::vector<Filter>& children) {
  for (std::size_t i = 0; i < children.size(); ++i) {
    if (i + 1 < children.size()) out.raw("OR ");
    write_filter(out, children[i]);
    if (i + 1 < children.size()) out.sp();
  }
}

void write_filter(imap::CommandBuilder& out, const Filter& filter) {
  switch (filter.kind) {
    case Filter::Kind::all_of:
      out.raw("(");
      for (std::size_t i = 0; i < filter.children.size(); ++i) {
        if (i > 0) out.sp();
        write_filter(out, filter.children[i]);
      }
      out.raw(")");
      break;
    case Filter::Kind::any_of: write_any(out, filter.children); break;
    case Filter::Kind::none_of:
      out.raw("NOT (");
      write_any(out, filter.children);
      out.raw(")");
      break;
    case Filter::Kind::header:
      out.raw("HEADER ").astring(filter.header_name).sp().string(filter.header_value ? filter.text : "");
      break;
    case Filter::Kind::never: out.raw("NOT ALL"); break;
    case Filter::Kind::text:
    case Filter::Kind::from:
    case Filter::Kind::to:
    case Filter::Kind::cc:
    case Filter::Kind::bcc:
    case Filter::Kind::subject:
    case Filter::Kind::body: write_words(out, filter); break;
    default: out.raw("ALL"); break;  // what the index answers
  }
}

// With ESEARCH the answer carries the tag and comes as ranges.
void begin_search(imap::CommandBuilder& search, const imap::CapabilitySet& capabilities) {
  const bool extended = capabilities.has(Capability::esearch);
  if (extended) search.raw(" RETURN (ALL)");
  search.expect(extended ? imap::Expect::esearch : imap::Expect::search);
}

Result<imap::Command> search_for(std::string_view key, const imap::CapabilitySet& capabilities) {
  imap::CommandBuilder search("UID SEARCH", capabilities);
  begin_search(search, capabilities);
  search.sp().raw(key);
  return search.finish();
}

}  // namespace

bool server_can_sort(const Sort& sort, const imap::CapabilitySet& capabilities) {
  if (!capabilities.has(Capability::sort) || sort.keys.empty()) return false;
  return std::all_of(sort.keys.begin(), sort.keys.end(), [&](const SortKey& key) {
    if (key.property == SortKey::Property::from || key.property == SortKey::Property::to)
      return capabilities.has(Capability::sort_display);
    return key.property != SortKey::Property::has_keyword;
  });
}

Result<imap::Command> sort_command(const Sort& sort, const imap::CapabilitySet& capabilities) {
  imap::CommandBuilder command("UID SORT", capabilities);
  command.raw(" (");
  for (std::size_t i = 0; i < sort.keys.size(); ++i) {
    if (i > 0) command.sp();
    if (!sort.keys[i].ascending) command.raw("REVERSE ");
    command.raw(sort_criterion(sort.keys[i].property));
  }
  command.raw(") UTF-8 ALL").expect(imap::Expect::sort);
  return command.finish();
}

Result<imap::Command> search_all_command(const imap::CapabilitySet& capabilities) {
  return search_for("ALL", capabilities);
}

Result<imap::Command> search_deleted_command(const imap::CapabilitySet& capabilities) {
  return search_for("DELETED", capabilities);
}

Result<imap::Command> search_command(const Filter& filter, const imap::CapabilitySet& capabilities) {
  imap::CommandBuilder search("UID SEARCH", capabilities);
  begin_search(search, capabilities);
  if (needs_charset(filter)) search.raw(" CHARSET UTF-8");
  search.sp();
  write_filter(search, filter);
  return search.finish();
}

std::optional<UidList> search_result(const imap::Response& response) {
  if (const auto* plain = std::get_if<imap::SearchResponse>(&response)) return plain->numbers;
  if (const auto* extended = std::get_if<imap::EsearchResponse>(&response))
    return extended->all ? extended->all->to_vector() : UidList{};
  return std::nullopt;
}

std::vector<std::string> search_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false;
  auto take = [&] {
    if (!word.empty() && words.size() < search_words_max) words.push_back(word);
    word.clear();
  };
  for (char c : text) {
    if (c == '"') {
      take();
      quoted = !quoted;
    } else if (!quoted && (c == ' ' || c == '\t' || c == '\r' || c == '\n')) {
      take();
    } else {
      word += c;
    }
  }
  take();
  return words;
}

}  // namespace postern::mail
