// The plan of a message: header, parts with their own headers, boundaries, and the size of it all. Recursion is as deep
// as the tree, up to mime_nesting_max.
#include "postern/mail/mime/compose.hpp"

#include <algorithm>
#include <array>

#include "mail/mime/field_writer.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::mail {
namespace {

constexpr std::size_t boundary_draws_max = 8;

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "compose"; }
  std::string message(int) const override { return "a blob isn't as large as it was said to be"; }
};

// Where a field goes: readers don't care, people who look at the source do. Trace fields come first (RFC 5322, 3.6).
int rank_of(std::string_view name) {
  const std::string lower = ascii_lower(name);
  if (lower == "return-path" || lower == "received" || lower.starts_with("resent-")) return 0;
  constexpr std::string_view order[] = {"date", "from",       "sender",      "reply-to",   "to",     "cc",
                                        "bcc",  "message-id", "in-reply-to", "references", "subject"};
  const auto* found = std::find(std::begin(order), std::end(order), lower);
  return 1 + static_cast<int>(found - std::begin(order));
}

bool has_field(const std::vector<WrittenField>& fields, std::string_view name) {
  return std::any_of(fields.begin(), fields.end(),
                     [name](const WrittenField& field) { return iequals_ascii(field.name, name); });
}

bool is_message(const WrittenPart& part) { return part.type.starts_with("message/"); }

// A message as it is, rather than in base64.
bool is_identity(const WrittenPart& part) {
  return part.blob && is_message(part) && part.blob->traits && part.blob->traits->fits_lines();
}

bool is_eight_bit(const WrittenPart& part) {
  if (is_identity(part)) return part.blob->traits->eight_bit;
  return std::any_of(part.sub_parts.begin(), part.sub_parts.end(), is_eight_bit);
}

class Composer {
 public:
  Composer(const WrittenMessage& message, const ComposeOptions& options, Random& random)
      : message_(message), options_(options), random_(random) {}

  std::expected<MessagePlan, std::vector<ComposeFault>> run() {
    check(message_.body, 0);
    const std::string header = message_header();
    if (faults_.empty()) {
      encode_texts(message_.body);
      if (!draw_boundary()) fault("", "holds every boundary that was drawn");
    }
    if (faults_.empty()) {
      append(header);
      write_part(message_.body);
      if (message_.body.is_multipart()) append("\r\n");
      plan_.eight_bit = is_eight_bit(message_.body);
      plan_.utf8_header = !is_ascii(header);
      if (plan_.size > options_.octets_max) fault("", "is larger than a message may be", true);
    }
    if (!faults_.empty()) return std::unexpected(std::move(faults_));
    return std::move(plan_);
  }

 private:
  void fault(std::string property, std::string reason, bool too_large = false) {
    if (faults_.size() < compose_faults_max)
      faults_.push_back({std::move(property), std::move(reason), too_large});
  }

  // --- Checks ---

  void check(const WrittenPart& part, std::size_t depth) {
    if (++parts_ > mime_parts_max || depth >= mime_nesting_max) {
      if (!too_many_) fault(part.property, "has too many parts, or too deeply nested ones", true);
      too_many_ = true;
    }
    if (too_many_) return;
    check_values(part);
    if (part.is_multipart()) {
      if (part.sub_parts.empty()) fault(part.property + "/subParts", "must not be empty");
      if (part.text || part.blob) fault(part.property, "can't have content of its own");
    } else {
      if (!part.sub_parts.empty()) fault(part.property + "/subParts", "is for multiparts");
      if (part.text.has_value() == part.blob.has_value()) fault(part.property, "must have one content");
    }
    if (part.text && !is_valid_utf8(*part.text)) fault(part.property + "/partId", "must be valid UTF-8");
    // Checked one by one, so that no sum overflows later on; the texts' before they are encoded.
    const std::uint64_t octets = part.text ? part.text->size() : part.blob ? part.blob->octets : 0;
    if (part.text) text_octets_ += octets;
    if (octets > options_.octets_max || text_octets_ > options_.octets_max)
      fault(part.property, "is larger than a message may be", true);
    for (const auto& sub_part : part.sub_parts) check(sub_part, depth + 1);
  }

  void check_values(const WrittenPart& part) {
    const auto refuse = [&](std::string_view name, std::optional<std::string> wrong) {
      if (wrong)
        fault(part.property.empty() ? std::string(name) : part.property + '/' + std::string(name), *wrong);
    };
    const std::string_view type = part.type;
    const std::size_t slash = std::min(type.find('/'), type.size());
    if (check_token(type.substr(0, slash)) || check_token(type.substr(std::min(slash + 1, type.size()))))
      refuse("type", "must be a media type");
    if (part.charset) refuse("charset", check_token(*part.charset));
    if (part.disposition) refuse("disposition", check_token(*part.disposition));
    if (part.cid) refuse("cid", check_bracketed(*part.cid));
    if (part.location) refuse("location", check_bracketed(*part.location));
    if (part.language.size() > header_urls_max) refuse("language", "has too many items");
    for (const auto& language : part.language) refuse("language", check_token(language));
    for (const auto* parameters : {&part.parameters, &part.disposition_parameters})
      for (const auto& [name, value] : *parameters) {
        refuse("type", check_token(name));
        refuse("type", check_parameter(value));
      }
    if (part.name) refuse("name", check_parameter(*part.name));
  }

  static std::optional<std::string> check_parameter(std::string_view value) {
    if (value.size() > part_name_bytes_max) return "is too long";
    if (value.find('\t') != std::string_view::npos) return "must not have control characters";
    return check_text(value);
  }

  // --- Headers ---

  std::string message_header() {
    std::vector<const WrittenField*> fields;
    for (const auto& field : message_.fields) {
      const auto* ids = std::get_if<MessageIdsForm>(&field.form);
      if (ids == nullptr || !ids->ids.empty()) fields.push_back(&field);
    }
    const auto has = [&fields](std::string_view name) {
      return std::any_of(fields.begin(), fields.end(),
                         [name](const WrittenField* field) { return iequals_ascii(field->name, name); });
    };
    const WrittenField date{"Date", DateForm{options_.now, 0}, "sentAt"};
    const WrittenField id{"Message-ID", made_message_id(), "messageId"};
    const bool has_version = has("MIME-Version") || has_field(message_.body.fields, "MIME-Version");
    if (!has("Date")) fields.push_back(&date);
    if (!has("Message-ID")) fields.push_back(&id);
    std::vector<std::pair<int, std::size_t>> order;  // rank, then as given
    order.reserve(fields.size());
    for (std::size_t i = 0; i < fields.size(); ++i) order.emplace_back(rank_of(fields[i]->name), i);
    std::sort(order.begin(), order.end());
    std::string header;
    if (fields.size() > header_fields_max) fault("", "has too many header fields", true);
    for (const auto& [rank, index] : order) {
      if (faults_.size() >= compose_faults_max) break;
      write_field(*fields[index], header, faults_);
    }
    if (!has_version) header += "MIME-Version: 1.0\r\n";
    check_part_headers(message_.body, header.size());
    return header;
  }

  MessageIdsForm made_message_id() {
    std::array<std::uint8_t, 16> octets{};
    random_.fill(octets);
    const std::string_view unique(reinterpret_cast<const char*>(octets.data()), octets.size());
    return {{hex_encode(unique) + '@' + std::string(options_.host)}};
  }

  // Faults in any part's own fields, before anything is laid out.
  void check_part_headers(const WrittenPart& part, std::size_t octets_before) {
    if (faults_.size() >= compose_faults_max || too_many_) return;
    std::string header;
    for (const auto& field : part.fields) {
      if (is_own_field(field.name)) fault(field.property, "is written by the server");
      write_field(field, header, faults_);
    }
    if (part.fields.size() > header_fields_max || header.size() + octets_before > header_bytes_max)
      fault(part.property, "has too large a header", true);
    for (const auto& sub_part : part.sub_parts) check_part_headers(sub_part, 0);
  }

  static bool is_own_field(std::string_view name) {
    return iequals_ascii(name, "Content-Type") || iequals_ascii(name, "Content-Transfer-Encoding");
  }

  void append_content_fields(const WrittenPart& part, std::string_view encoding, std::string_view boundary,
                             std::string& out) {
    const auto parameters = [](FieldWriter& writer, std::string_view value,
                               const std::vector<std::string>& pieces) {
      writer.piece(" ", std::string(value) + (pieces.empty() ? "" : ";"));
      for (std::size_t i = 0; i < pieces.size(); ++i)
        writer.piece(" ", pieces[i] + (i + 1 < pieces.size() ? ";" : ""));
      writer.end();
    };
    const auto add = [](std::vector<std::string>& pieces, std::string_view name, std::string_view value) {
      for (auto& piece : parameter_pieces(name, value)) pieces.push_back(std::move(piece));
    };
    std::vector<std::string> pieces;
    if (!boundary.empty()) add(pieces, "boundary", boundary);
    if (part.text && part.type.starts_with("text/")) {
      add(pieces, "charset", "utf-8");
    } else if (part.charset) {
      add(pieces, "charset", *part.charset);
    }
    for (const auto& [name, value] : part.parameters)
      if (name != "charset" && name != "name" && name != "boundary") add(pieces, name, value);
    if (part.name) add(pieces, "name", *part.name);
    FieldWriter type(out, "Content-Type");
    parameters(type, part.type, pieces);
    if (part.disposition) {
      pieces.clear();
      if (part.name) add(pieces, "filename", *part.name);
      for (const auto& [name, value] : part.disposition_parameters)
        if (name != "filename") add(pieces, name, value);
      FieldWriter disposition(out, "Content-Disposition");
      parameters(disposition, *part.disposition, pieces);
    }
    append_plain(out, "Content-Transfer-Encoding", encoding);
    if (part.cid) append_plain(out, "Content-ID", '<' + *part.cid + '>');
    if (part.location) append_plain(out, "Content-Location", *part.location);
    if (!part.language.empty()) {
      FieldWriter language(out, "Content-Language");
      for (std::size_t i = 0; i < part.language.size(); ++i)
        language.piece(" ", part.language[i] + (i + 1 < part.language.size() ? "," : ""));
      language.end();
    }
  }

  static void append_plain(std::string& out, std::string_view name, std::string_view value) {
    FieldWriter writer(out, name);
    writer.piece(" ", value);
    writer.end();
  }

  // --- Boundaries ---

  // Texts in the order in which they are written.
  void encode_texts(const WrittenPart& part) {
    if (part.text)
      texts_.push_back(part.type.starts_with("text/") ? encode_text(*part.text)
                                                      : EncodedText{"base64", base64_lines(*part.text)});
    for (const auto& sub_part : part.sub_parts) encode_texts(sub_part);
  }

  // "=_" is in no base64 or quoted-printable text; texts that stand as they are, are looked through. Blobs that do
  // can't be, but nobody could have foreseen 16 random octets. The number of a multipart has as many digits as any
  // other's: no boundary is the beginning of another.
  bool draw_boundary() {
    for (std::size_t i = 0; i < boundary_draws_max; ++i) {
      std::array<std::uint8_t, 16> octets{};
      random_.fill(octets);
      boundary_ = "=_" + hex_encode({reinterpret_cast<const char*>(octets.data()), octets.size()}) + '_';
      if (std::none_of(texts_.begin(), texts_.end(), [this](const EncodedText& text) {
            return text.encoding == "7bit" && text.octets.find(boundary_) != std::string::npos;
          }))
        return true;
    }
    return false;
  }

  std::string next_boundary() {
    const std::string number = std::to_string(++multiparts_);
    return boundary_ + std::string(5 - std::min<std::size_t>(number.size(), 5), '0') + number;
  }

  // --- Laying out ---

  void append(std::string_view octets) {
    if (plan_.segments.empty() || plan_.segments.back().blob) plan_.segments.emplace_back();
    plan_.segments.back().octets += octets;
    plan_.segments.back().size += octets.size();
    plan_.size += octets.size();
  }

  void append(const BlobContent& blob, WrittenEncoding encoding) {
    MessageSegment segment;
    segment.blob = blob;
    segment.encoding = encoding;
    segment.size =
        encoding == WrittenEncoding::base64 ? base64_size(blob.octets) : blob.traits->crlf_octets();
    if (segment.size == 0) return;
    plan_.size += segment.size;
    plan_.segments.push_back(std::move(segment));
  }

  // The part's header, an empty line, and its content, without a line end behind it.
  void write_part(const WrittenPart& part) {
    const bool multipart = part.is_multipart();
    const bool identity = is_identity(part);
    const std::string boundary = multipart ? next_boundary() : std::string();
    std::string_view encoding = multipart || identity ? (is_eight_bit(part) ? "8bit" : "7bit") : "base64";
    EncodedText* text = part.text ? &texts_[next_text_++] : nullptr;
    if (text != nullptr) encoding = text->encoding;
    std::string header;
    for (const auto& field : part.fields) write_field(field, header, faults_);
    append_content_fields(part, encoding, boundary, header);
    append(header);
    append("\r\n");
    if (text != nullptr) {
      append(text->octets);
      std::string().swap(text->octets);
    }
    if (part.blob) append(*part.blob, identity ? WrittenEncoding::crlf : WrittenEncoding::base64);
    if (!multipart) return;
    for (std::size_t i = 0; i < part.sub_parts.size(); ++i) {
      append((i == 0 ? "--" : "\r\n--") + boundary + "\r\n");
      if (plan_.size > options_.octets_max) return;
      write_part(part.sub_parts[i]);
    }
    append("\r\n--" + boundary + "--");
  }

  const WrittenMessage& message_;
  const ComposeOptions& options_;
  Random& random_;
  MessagePlan plan_;
  std::vector<ComposeFault> faults_;
  std::size_t parts_ = 0, multiparts_ = 0, next_text_ = 0;
  std::uint64_t text_octets_ = 0;
  bool too_many_ = false;
  std::vector<EncodedText> texts_;
  std::string boundary_;
};

}  // namespace

const std::error_category& compose_category() {
  static const Category category;
  return category;
}

std::expected<MessagePlan, std::vector<ComposeFault>> compose_message(const WrittenMessage& message,
                                                                      const ComposeOptions& options,
                                                                      Random& random) {
  return Composer(message, options, random).run();
}

Result<> SegmentWriter::feed(std::string_view piece, std::string& out) {
  const std::size_t before = out.size();
  encoder_.feed(piece, out);
  written_ += out.size() - before;
  if (written_ <= expected_) return {};
  out.resize(before);
  return fail(ComposeErrc::blob_changed);
}

Result<> SegmentWriter::finish(std::string& out) {
  const std::size_t before = out.size();
  encoder_.finish(out);
  written_ += out.size() - before;
  if (written_ == expected_) return {};
  out.resize(before);
  return fail(ComposeErrc::blob_changed);
}

}  // namespace postern::mail
