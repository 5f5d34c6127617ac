// Filters written as SEARCH keys and sorts as SORT criteria. A client's words become CommandBuilder's strings, never
// raw text.
#include "mail/search_program.hpp"

#include <algorithm>

#include "postern/base/encoding.hpp"
#include "postern/mail/mailstore.hpp"
#include "postern/mail/mime/search_text.hpp"

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
    default: return {};
  }
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

bool needs_charset(const Filter& filter) {
  return !is_ascii(filter.text) || std::any_of(filter.children.begin(), filter.children.end(), needs_charset);
}

// nullopt: it has characters that ISO-8859-1 lacks. `utf8` is valid.
std::optional<std::string> latin1(std::string_view utf8) {
  std::string out;
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto lead = static_cast<unsigned char>(utf8[i]);
    if (lead < 0x80) {
      out += utf8[i];
      continue;
    }
    if (lead > 0xC3) return std::nullopt;  // U+00FF is C3 BF
    out += static_cast<char>((lead & 0x03U) << 6 | (static_cast<unsigned char>(utf8[++i]) & 0x3FU));
  }
  return out;
}

// Writes one filter as a SEARCH program; what can't be said is remembered until the end.
class SearchWriter {
 public:
  SearchWriter(imap::CommandBuilder& out, SearchCharset charset, bool fuzzy)
      : out_(out), fuzzy_(fuzzy), charset_(charset) {}
  void write(const Filter& filter);
  const char* fault() const { return fault_; }

 private:
  void write_terms(const Filter& filter);
  void write_any(const std::vector<Filter>& children);
  void string(std::string_view text);

  imap::CommandBuilder& out_;
  bool fuzzy_;
  SearchCharset charset_;
  const char* fault_ = nullptr;
};

void SearchWriter::string(std::string_view text) {
  if (charset_ != SearchCharset::latin1) {
    out_.string(text);
  } else if (auto encoded = latin1(text)) {
    out_.string(*encoded);
  } else {
    fault_ = "the server can't search for these characters";
    out_.string("");
  }
}

// Each of the terms. A server that says so looks for words in its index if it is asked for FUZZY (RFC 6203), where it
// would read each message otherwise; phrases and beginnings of words are none that an index of words can answer.
void SearchWriter::write_terms(const Filter& filter) {
  const bool header = filter.kind == Filter::Kind::header;
  auto terms = parse_search_text(filter.text);
  if (!terms) {
    fault_ = "too many words";
    terms.emplace();
  }
  if (terms->empty() && !header) {
    out_.raw("ALL");
    return;
  }
  if (terms->empty()) terms->emplace_back();
  if (terms->size() > 1) out_.raw("(");
  for (std::size_t i = 0; i < terms->size(); ++i) {
    const auto& term = (*terms)[i];
    if (i > 0) out_.sp();
    const bool in_body = filter.kind == Filter::Kind::text || filter.kind == Filter::Kind::body;
    if (fuzzy_ && in_body && !term.phrase && !term.prefix) out_.raw("FUZZY ");
    if (header)
      out_.raw("HEADER ").astring(filter.header_name).sp();
    else
      out_.raw(search_key(filter.kind)).sp();
    string(term.text);
  }
  if (terms->size() > 1) out_.raw(")");
}

// OR takes two keys: OR a OR b c.
void SearchWriter::write_any(const std::vector<Filter>& children) {
  if (children.empty()) out_.raw("NOT ALL");
  for (std::size_t i = 0; i < children.size(); ++i) {
    if (i + 1 < children.size()) out_.raw("OR ");
    write(children[i]);
    if (i + 1 < children.size()) out_.sp();
  }
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as the filter, which is bounded
void SearchWriter::write(const Filter& filter) {
  switch (filter.kind) {
    case Filter::Kind::all_of:
      out_.raw("(");
      for (std::size_t i = 0; i < filter.children.size(); ++i) {
        if (i > 0) out_.sp();
        write(filter.children[i]);
      }
      out_.raw(")");
      break;
    case Filter::Kind::any_of: write_any(filter.children); break;
    case Filter::Kind::none_of:
      out_.raw("NOT (");
      write_any(filter.children);
      out_.raw(")");
      break;
    case Filter::Kind::never: out_.raw("NOT ALL"); break;
    default:
      if (is_search_condition(filter.kind))
        write_terms(filter);
      else
        out_.raw("ALL");  // what the index answers
      break;
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

bool may_use_index(const Filter& filter, const imap::CapabilitySet& capabilities) {
  return capabilities.has(Capability::search_fuzzy) &&
         (is_search_condition(filter.kind) ||
          (filter.kind == Filter::Kind::all_of &&
           std::all_of(filter.children.begin(), filter.children.end(),
                       [&](const Filter& child) { return may_use_index(child, capabilities); })));
}

bool server_can_sort(const Sort& sort, const imap::CapabilitySet& capabilities) {
  if (!capabilities.has(Capability::sort) || sort.keys.empty()) return false;
  return std::all_of(sort.keys.begin(), sort.keys.end(), [&](const SortKey& key) {
    if (key.property == SortKey::Property::from || key.property == SortKey::Property::to)
      return capabilities.has(Capability::sort_display);
    return !is_keyword_property(key.property);
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

Result<imap::Command> search_message_id_command(std::uint32_t from, std::string_view message_id,
                                                const imap::CapabilitySet& capabilities) {
  imap::CommandBuilder search("UID SEARCH", capabilities);
  begin_search(search, capabilities);
  search.raw(" UID ").number(from).raw(":*");
  if (!message_id.empty()) search.raw(" HEADER MESSAGE-ID ").string(message_id);
  return search.finish();
}

Result<imap::Command> search_command(const Filter& filter, const imap::CapabilitySet& capabilities,
                                     SearchCharset charset, SearchIndex index) {
  imap::CommandBuilder search("UID SEARCH", capabilities);
  begin_search(search, capabilities);
  // Where UTF-8 is on, a SEARCH names no charset (RFC 6855, 3).
  if (needs_charset(filter) && !capabilities.utf8_enabled())
    search.raw(charset == SearchCharset::latin1 ? " CHARSET ISO-8859-1" : " CHARSET UTF-8");
  search.sp();
  SearchWriter writer(search, charset,
                      index == SearchIndex::where_offered && may_use_index(filter, capabilities));
  writer.write(filter);
  if (writer.fault() != nullptr) return fail(Errc::unsupported_filter, writer.fault());
  return search.finish();
}

std::optional<UidList> search_result(const imap::Response& response) {
  if (const auto* plain = std::get_if<imap::SearchResponse>(&response)) return plain->numbers;
  if (const auto* extended = std::get_if<imap::EsearchResponse>(&response))
    return extended->all ? extended->all->to_vector() : UidList{};
  return std::nullopt;
}

}  // namespace postern::mail
