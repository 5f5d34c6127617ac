// RFC 5322, 3.4, read as people write it:
//
//   address-list = (address *("," address))
//   address      = mailbox / group
//   mailbox      = name-addr / addr-spec
//   name-addr    = [display-name] [CFWS] "<" addr-spec ">" [CFWS]
//   group        = display-name ":" [group-list] ";" [CFWS]
//
// Beyond it: unquoted dots and commas in display names, semicolons between addresses, addresses without brackets
// behind a name, brackets, quotes and comments that don't close, groups that don't end, and encoded words that
// hold specials. An encoded word in a quoted-string is text by RFC 2047, 5; but where a quoted-string is nothing
// but encoded words, no writer meant the letters, and they are decoded.
#include <utility>

#include "mail/mime/characters.hpp"
#include "mail/mime/encoded_words.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/charset.hpp"
#include "postern/mail/mime/headers.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::mail {
namespace {

// Atoms, quoted-strings and encoded words of one address; further ones are left out of its name.
constexpr std::size_t pieces_max = 1'000;
// Elements without an address that may belong to the display name behind them: "Smith, John, Jr. <...>".
constexpr std::size_t unquoted_commas_max = 2;

bool is_special(char c) { return std::string_view("()<>,;:\"[").find(c) != std::string_view::npos; }

struct Piece {
  enum class Kind : std::uint8_t { atom, quoted, encoded };
  Kind kind = Kind::atom;
  std::string_view raw;  // a quoted-string with its quotes
  std::string text;      // a quoted-string's content
  EncodedWord word;
  bool space_before = false;
};

std::string join_words(const std::vector<Piece>& pieces, std::size_t begin, std::size_t end) {
  WordJoiner joiner;
  for (std::size_t i = begin; i < end; ++i) {
    const Piece& piece = pieces[i];
    const std::string_view space = piece.space_before && i > begin ? " " : "";
    switch (piece.kind) {
      case Piece::Kind::atom: joiner.add_text(piece.raw, space); break;
      case Piece::Kind::quoted:
        joiner.add_text(is_encoded_words_only(piece.text) ? decode_words(piece.text) : piece.text, space);
        break;
      case Piece::Kind::encoded: joiner.add_word(piece.word, space); break;
    }
  }
  return std::string(trim_ascii(joiner.finish()));
}

class AddressParser {
 public:
  explicit AddressParser(std::string_view s) : s_(s) {}

  std::vector<EmailAddressGroup> parse() {
    while (pos_ < s_.size() && !full_) step();
    end_element(false);
    flush_pending();
    return std::move(groups_);
  }

 private:
  void step() {
    const char c = s_[pos_];
    switch (c) {
      case ' ':
      case '\t':
        space_ = true;
        ++pos_;
        break;
      case '(': comment(); break;
      case '"': quoted_string(); break;
      case '<': angle_address(); break;
      case ',':
        ++pos_;
        end_element(true);
        break;
      case ';':
        ++pos_;
        end_element(false);
        flush_pending();
        in_group_ = false;
        break;
      case ':': colon(); break;
      case ')':
      case '>': ++pos_; break;
      default: atom(); break;
    }
  }

  void add_piece(Piece piece) {
    piece.space_before = std::exchange(space_, false);
    if (pieces_.size() < pieces_max) pieces_.push_back(std::move(piece));
  }

  void atom() {
    if (const auto word = match_encoded_word(s_.substr(pos_))) {
      const std::size_t next = pos_ + word->length;
      if (next == s_.size() || is_wsp(s_[next]) || is_special(s_[next])) {
        Piece piece;
        piece.kind = Piece::Kind::encoded;
        piece.raw = s_.substr(pos_, word->length);
        piece.word = *word;
        add_piece(std::move(piece));
        pos_ = next;
        return;
      }
    }
    const std::size_t begin = pos_;
    if (s_[pos_] == '[' && !brackets_are_text_) {  // domain-literal
      const std::size_t close = s_.find(']', pos_);
      if (close != std::string_view::npos) {
        pos_ = close;
      } else {
        brackets_are_text_ = true;
      }
    }
    ++pos_;
    while (pos_ < s_.size() && !is_wsp(s_[pos_]) && !is_special(s_[pos_])) ++pos_;
    Piece piece;
    piece.raw = s_.substr(begin, pos_ - begin);
    add_piece(std::move(piece));
  }

  // quoted-string = DQUOTE *([FWS] qcontent) [FWS] DQUOTE
  void quoted_string() {
    const std::size_t begin = pos_++;
    if (quotes_are_text_) return;
    std::string text;
    while (pos_ < s_.size() && s_[pos_] != '"') {
      if (s_[pos_] == '\\' && pos_ + 1 < s_.size()) ++pos_;
      text += s_[pos_++];
    }
    if (pos_ >= s_.size()) {  // not closed: go on behind it
      quotes_are_text_ = true;
      pos_ = begin + 1;
      return;
    }
    ++pos_;
    Piece piece;
    piece.kind = Piece::Kind::quoted;
    piece.raw = s_.substr(begin, pos_ - begin);
    piece.text = trim_ascii(text);
    add_piece(std::move(piece));
  }

  // comment = "(" *([FWS] ccontent) [FWS] ")", nested. Gives the content; leaves pos_ behind it.
  std::optional<std::string> read_comment() {
    const std::size_t begin = pos_++;
    if (comments_are_text_) return std::nullopt;
    std::string text;
    for (std::size_t depth = 1; pos_ < s_.size(); ++pos_) {
      char c = s_[pos_];
      if (c == '(') ++depth;
      if (c == ')' && --depth == 0) {
        ++pos_;
        return text;
      }
      if (c == '\\' && pos_ + 1 < s_.size()) c = s_[++pos_];
      text += c;
    }
    comments_are_text_ = true;
    pos_ = begin + 1;
    return std::nullopt;
  }

  void comment() {
    const auto text = read_comment();
    space_ = true;
    if (text && (email_ || !pieces_.empty())) comment_ = decode_words(trim_ascii(*text));
  }

  // angle-addr = "<" [obs-route] addr-spec ">". Without ">", it ends where the next address begins.
  void angle_address() {
    if (email_) end_element(false);
    ++pos_;
    std::string email;
    bool in_quotes = false;
    while (pos_ < s_.size()) {
      const char c = s_[pos_];
      if (in_quotes) {
        if (c == '\\' && pos_ + 1 < s_.size()) {
          email += c;
          ++pos_;
        }
        in_quotes = c != '"';
        email += s_[pos_++];
        continue;
      }
      if (c == '(') {
        read_comment();
        continue;
      }
      if (c == ';' || (c == ',' && !email.starts_with('@')) || (c == '<' && !email.empty())) break;
      ++pos_;
      if (c == '>') break;
      if (c == ':' && (email.starts_with('@') || iequals_ascii(email, "mailto"))) {
        email.clear();  // obs-route
      } else if (!is_wsp(c) && c != '<') {
        in_quotes = c == '"' && begins_local_part(email);
        email += c;
      }
    }
    email_ = std::move(email);
    pieces_before_angle_ = pieces_.size();
    space_ = true;
  }

  // True if the quote before pos_ begins the quoted-string of a local-part: closed, and an "@" or "." behind it.
  // Other quotes are letters. No local-part is longer than 64 octets (RFC 5321, 4.5.3.1.1), so a look at some more
  // is enough.
  bool begins_local_part(std::string_view email) const {
    constexpr std::size_t look_ahead = 300;
    if (!email.empty() && !email.ends_with('.')) return false;
    for (std::size_t i = pos_; i < s_.size() && i < pos_ + look_ahead; ++i) {
      if (s_[i] == '"')
        return i + 1 < s_.size() && (s_[i + 1] == '@' || s_[i + 1] == '.' || is_wsp(s_[i + 1]));
      if (s_[i] == '\\') ++i;
    }
    return false;
  }

  void colon() {
    ++pos_;
    const bool names_group = !in_group_ && !email_ && !pieces_.empty() && !has_at(0, pieces_.size());
    if (!names_group) {
      if (!pieces_.empty()) {
        Piece piece;
        piece.raw = ":";
        add_piece(std::move(piece));
      }
      return;
    }
    flush_pending();
    if (groups_.size() == header_groups_max) {
      full_ = true;
      return;
    }
    groups_.push_back({join_words(pieces_, 0, pieces_.size()), {}});
    in_group_ = true;
    no_group_open_ = false;
    clear_element();
  }

  void clear_element() {
    pieces_.clear();
    email_.reset();
    comment_.reset();
    pieces_before_angle_ = 0;
    space_ = false;
  }

  bool has_at(std::size_t begin, std::size_t end) const {
    for (std::size_t i = begin; i < end; ++i)
      if (pieces_[i].kind == Piece::Kind::atom && pieces_[i].raw.find('@') != std::string_view::npos)
        return true;
    return false;
  }

  void end_element(bool at_comma) {
    if (email_) {
      std::optional<std::string> name;
      if (pieces_before_angle_ > 0) {
        name = join_words(pieces_, 0, pieces_before_angle_);
        std::string before;
        for (const auto& text : pending_) before += text + ", ";
        name->insert(0, before);
        pending_.clear();
      } else if (comment_) {
        name = std::move(comment_);
      } else if (!pieces_.empty()) {
        name = join_words(pieces_, 0, pieces_.size());
      }
      flush_pending();
      if (name || !email_->empty()) add_address({std::move(name), std::move(*email_)});
    } else if (has_at(0, pieces_.size())) {
      flush_pending();
      addresses_without_brackets();
    } else if (!pieces_.empty()) {
      std::string text = join_words(pieces_, 0, pieces_.size());
      if (pending_.size() == unquoted_commas_max) flush_pending();
      // Perhaps the surname of the next.
      if (at_comma && pieces_.front().kind != Piece::Kind::quoted && !comment_) {
        pending_.push_back(std::move(text));
      } else {
        flush_pending();
        add_address({std::move(comment_), std::move(text)});
      }
    }
    clear_element();
  }

  void flush_pending() {
    for (auto& text : std::exchange(pending_, {})) add_address({std::nullopt, std::move(text)});
  }

  // "addr-spec", "addr-spec addr-spec", "name addr-spec", "addr-spec name", "local @ domain".
  void addresses_without_brackets() {
    std::size_t name_begin = 0;
    std::optional<EmailAddress> last;
    for (std::size_t i = 0; i < pieces_.size();) {
      std::size_t end = i + 1;
      while (end < pieces_.size() && (!pieces_[end].space_before || touches_at(end))) ++end;
      if (has_at(i, end)) {
        if (last) add_address(std::move(*last));
        last.emplace();
        if (i > name_begin) last->name = join_words(pieces_, name_begin, i);
        for (std::size_t k = i; k < end; ++k) last->email += pieces_[k].raw;
        name_begin = end;
      }
      i = end;
    }
    if (!last) return;
    if (comment_) {
      if (!last->name) last->name = std::move(comment_);
    } else if (!last->name && name_begin < pieces_.size()) {
      last->name = join_words(pieces_, name_begin, pieces_.size());
    }
    add_address(std::move(*last));
  }

  // True if the white space before that piece stands beside an "@" or a single "." (obs-local-part, obs-domain).
  bool touches_at(std::size_t i) const {
    const Piece& left = pieces_[i - 1];
    const Piece& right = pieces_[i];
    return (right.kind == Piece::Kind::atom && (right.raw.starts_with('@') || right.raw.starts_with('.'))) ||
           (left.kind == Piece::Kind::atom && (left.raw.ends_with('@') || left.raw == "."));
  }

  void add_address(EmailAddress address) {
    if (addresses_ == header_addresses_max) {
      full_ = true;
      return;
    }
    if (!in_group_ && !no_group_open_) {
      if (groups_.size() == header_groups_max) {
        full_ = true;
        return;
      }
      groups_.emplace_back();
      no_group_open_ = true;
    }
    ++addresses_;
    groups_.back().addresses.push_back(std::move(address));
  }

  std::string_view s_;
  std::size_t pos_ = 0;
  std::vector<EmailAddressGroup> groups_;
  std::size_t addresses_ = 0;
  bool full_ = false;
  bool in_group_ = false;
  bool no_group_open_ = false;  // groups_.back() collects addresses outside groups
  // The element (what stands between two separators) so far.
  std::vector<Piece> pieces_;
  std::size_t pieces_before_angle_ = 0;
  std::optional<std::string> email_;    // from brackets
  std::optional<std::string> comment_;  // the last one behind an address
  std::vector<std::string> pending_;
  bool space_ = false;
  // Once one doesn't close, none of its kind behind it is looked for: time stays linear.
  bool quotes_are_text_ = false, comments_are_text_ = false, brackets_are_text_ = false;
};

}  // namespace

std::vector<EmailAddressGroup> as_grouped_addresses(std::string_view raw) {
  const std::string unfolded = unfold(raw);
  return AddressParser(unfolded).parse();
}

std::vector<EmailAddress> as_addresses(std::string_view raw) {
  std::vector<EmailAddressGroup> groups = as_grouped_addresses(raw);
  if (groups.size() == 1) return std::move(groups.front().addresses);
  std::vector<EmailAddress> addresses;
  for (auto& group : groups)
    for (auto& address : group.addresses) addresses.push_back(std::move(address));
  return addresses;
}

}  // namespace postern::mail
