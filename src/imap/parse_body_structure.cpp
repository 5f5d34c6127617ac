// BODYSTRUCTURE and BODY (RFC 3501, section 9):
// body            = "(" (body-type-1part / body-type-mpart) ")"
// body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart]
// body-type-1part = (body-type-basic / body-type-msg / body-type-text) [SP body-ext-1part]
// body-type-basic = media-type SP media-subtype SP body-fields
// body-type-msg   = "MESSAGE" "RFC822" body-fields SP envelope SP body SP body-fld-lines
// body-type-text  = "TEXT" SP media-subtype SP body-fields SP body-fld-lines
// body-fields     = body-fld-param SP body-fld-id SP body-fld-desc SP body-fld-enc SP body-fld-octets
// body-ext-1part  = body-fld-md5 [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc *(SP body-extension)]]]
// body-ext-mpart  = body-fld-param [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc *(SP body-extension)]]]
// Recursion is bounded by nesting_max, the number of parts by body_parts_max: what is deeper is told as one part that
// nothing is known of, parts beyond are left out.
#include <array>

#include "imap/response_parsers.hpp"
#include "postern/imap/limits.hpp"

namespace postern::imap {
namespace {

class Parser {
 public:
  explicit Parser(Cursor& in) : in_(in) {}

  bool body(BodyStructure& out, std::size_t depth) {
    ++parts_;
    in_.spaces();
    const bool unread = in_.accept_nil();  // by the server
    if (unread || depth > nesting_max) {   // it keeps its number
      out.type = "application", out.subtype = "octet-stream";
      return unread || in_.skip_value();
    }
    if (!in_.accept('(')) return in_.fail("body expected");
    in_.spaces();
    return in_.peek() == '(' ? multipart(out, depth) : media_type(out, depth);
  }

 private:
  static bool is_multipart_subtype(std::string_view subtype) {
    constexpr std::array<std::string_view, 11> subtypes = {
        "mixed",  "alternative", "related",     "report",    "signed",       "encrypted",
        "digest", "parallel",    "appledouble", "form-data", "voice-message"};
    for (const std::string_view s : subtypes) {
      if (subtype == s) return true;
    }
    return false;
  }

  static std::string lowered(const NString& text, std::string_view otherwise) {
    return to_lower(text && !text->empty() ? std::string_view(*text) : otherwise);
  }

  bool at_list_end() {
    in_.spaces();
    return in_.at_end() || in_.peek() == ')';
  }

  bool close() {  // body-extension: whatever is left
    for (;;) {
      in_.spaces();
      if (in_.accept(')')) return true;
      if (!in_.skip_value()) return false;
    }
  }

  bool multipart(BodyStructure& out, std::size_t depth) {
    out.type = "multipart";
    while (in_.spaces(), in_.peek() == '(') {
      const bool beyond = parts_ >= body_parts_max;
      if (!(beyond ? in_.skip_value() : body(out.parts.emplace_back(), depth + 1))) return false;
    }
    NString subtype;
    if (!in_.field(subtype)) return false;
    out.subtype = lowered(subtype, "mixed");
    return multipart_extension(out);
  }

  bool multipart_extension(BodyStructure& out) {
    return parameters(out.parameters) && disposition(out) && languages(out) && in_.field(out.location) &&
           close();
  }

  // Behind "(": a part that isn't multipart, or a multipart without parts, as some servers write it:
  // (NIL "mixed" ...), ("mixed" ("boundary" "x") ...), ("multipart" "mixed" ...)
  bool media_type(BodyStructure& out, std::size_t depth) {
    NString type, subtype;
    if (!in_.field(type)) return false;
    in_.spaces();
    if (in_.peek() == '(' && !type) return multipart(out, depth);  // (NIL (part) "mixed")
    const bool one_word = type && (in_.peek() == '(' || in_.peek() == ')');
    if (!one_word && !in_.field(subtype)) return false;
    if (one_word || (type && !subtype && is_multipart_subtype(to_lower(*type)))) {
      out.type = "multipart", out.subtype = to_lower(*type);
      return one_word ? multipart_extension(out) : disposition(out) && close();
    }
    out.subtype = lowered(subtype, "");
    if ((!type && is_multipart_subtype(out.subtype)) || (type && same_word(*type, "multipart"))) {
      out.type = "multipart";
      if (out.subtype.empty()) out.subtype = "mixed";
      return multipart_extension(out);
    }
    out.type = lowered(type, "application");
    if (out.subtype.empty()) out.subtype = out.type == "text" ? "plain" : "octet-stream";
    return single_part(out, depth);
  }

  bool single_part(BodyStructure& out, std::size_t depth) {
    NString encoding;
    if (!parameters(out.parameters) || !in_.field(out.id) || !in_.field(out.description) ||
        !in_.field(encoding)) {
      return false;
    }
    out.encoding = lowered(encoding, "7bit");
    if (!at_list_end() && !number(out.size)) return false;
    const bool message = out.type == "message" && (out.subtype == "rfc822" || out.subtype == "global");
    if (message && !embedded(out, depth)) return false;
    // Lines belong to text and message/rfc822; other types have been seen with them, and text without.
    in_.spaces();
    if ((is_digit(in_.peek()) || in_.peek() == '-') && !number(out.lines)) return false;
    return single_part_extension(out);
  }

  bool number(std::uint64_t& out) {
    in_.spaces();
    std::optional<std::uint64_t> value;
    if (!in_.lenient_number(value)) return false;
    out = value.value_or(0);
    return true;
  }

  // envelope SP body of message/rfc822. Some servers describe it as a basic part, without both, and some
  // write NIL NIL.
  bool embedded(BodyStructure& out, std::size_t depth) {
    in_.spaces();
    const std::size_t start = in_.offset();
    if (in_.peek() != '(') {
      if (!in_.accept_nil() || (in_.spaces(), !in_.accept_nil()) || (in_.spaces(), !is_digit(in_.peek()))) {
        in_.seek(start);
      }
      return true;
    }
    const bool ok = parse_envelope(in_, out.envelope);
    in_.set_structured(structured_);
    if (!ok) {
      if (in_.is_too_large()) return false;
      in_.clear_error();
      in_.seek(start);
      if (!in_.skip_value()) return false;
    }
    in_.spaces();
    if (in_.peek() != '(') return in_.accept_nil() || true;
    if (parts_ >= body_parts_max) return in_.skip_value();
    return body(out.parts.emplace_back(), depth + 1);
  }

  bool single_part_extension(BodyStructure& out) {
    in_.spaces();
    if (in_.peek() != '(' && !in_.field(out.md5))
      return false;  // a list here is the disposition: no md5 given
    if (!disposition(out)) return false;
    // With NIL for the missing lines, too, everything is one place late.
    in_.spaces();
    if (!out.disposition && in_.peek() == '(' && at_disposition() && !disposition(out)) return false;
    return languages(out) && in_.field(out.location) && close();
  }

  bool at_disposition() {
    Cursor ahead = in_;
    std::string word;
    ahead.advance();
    ahead.spaces();
    return ahead.astring(word) && (same_word(word, "attachment") || same_word(word, "inline"));
  }

  // body-fld-param = "(" string SP string *(SP string SP string) ")" / nil
  bool parameters(Parameters& out) {
    in_.spaces();
    NString none;
    if (in_.peek() != '(') return in_.field(none);
    in_.advance();
    while (!at_list_end()) {
      NString name, value;
      if (!in_.field(name) || !in_.field(value)) return false;
      if (name) out.emplace_back(to_lower(*name), std::move(value).value_or(std::string()));
    }
    return in_.accept(')') || in_.fail("parameters without an end");
  }

  // body-fld-dsp = "(" string SP body-fld-param ")" / nil ; seen as a mere string, and without parameters
  bool disposition(BodyStructure& out) {
    in_.spaces();
    const bool list = in_.accept('(');
    if (!in_.field(out.disposition)) return false;
    if (out.disposition) out.disposition = to_lower(*out.disposition);
    return !list || (parameters(out.disposition_parameters) && close());
  }

  // body-fld-lang = nstring / "(" string *(SP string) ")"
  bool languages(BodyStructure& out) {
    return at_list_end() || in_.string_list(out.languages, languages_max);
  }

  static constexpr std::size_t languages_max = 1'000;

 public:
  void set_structured(bool on) {
    structured_ = on;
    in_.set_structured(on);
  }

 private:
  Cursor& in_;
  std::size_t parts_ = 0;
  bool structured_ = false;
};

}  // namespace

bool parse_body_structure(Cursor& in, std::unique_ptr<BodyStructure>& out) {
  in.spaces();
  if (in.accept_nil()) return true;
  const std::size_t start = in.offset();
  for (const bool structured : {true, false}) {  // as in parse_envelope
    in.seek(start);
    in.clear_error();
    auto structure = std::make_unique<BodyStructure>();
    Parser parser(in);
    parser.set_structured(structured);
    const bool ok = parser.body(*structure, 1);
    parser.set_structured(false);
    if (ok) {
      out = std::move(structure);
      return true;
    }
    if (in.is_too_large()) return false;
  }
  return false;
}

}  // namespace postern::imap
