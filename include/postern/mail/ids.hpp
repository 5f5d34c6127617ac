// JMAP ids of mail (RFC 8620, 1.2) and what they mean.
//
// An Email id names the place where the message was first seen: mailbox key, UIDVALIDITY, UID. All three
// are compared on every use, so that an id never reaches another message. Ids are opaque to clients,
// start with a letter, and decode to exactly one value: anything else is notFound.
//
//   Mailbox  m + 11 characters (64-bit mailbox key)
//   Email    e + 22 characters (mailbox key, UIDVALIDITY, UID)
//   Thread   t + 11 characters (64-bit thread key)
//   Blob     b + 22 characters as in the Email id: the whole message;
//            then _, a letter for the transfer encoding and the section with _ for dots: one part
//            u + 22 characters (16 random octets): an upload
//            behind either, up to blob_slices_max times: -, a letter for the transfer encoding, where the octets of a
//            part begin, _ and how many there are: a part of a message that only the blob holds
//   Account  a + 11 characters (64-bit account key)
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postern/blobs/upload_index.hpp"
#include "postern/mail/mime/transfer_decode.hpp"
#include "postern/store/session_table.hpp"

namespace postern::mail {

using MailboxKey = std::uint64_t;
using ThreadKey = std::uint64_t;
using EmailKey = store::Place;
using store::Place;

// Octets of a blob, which are then decoded.
struct BlobSlice {
  TransferEncoding encoding = TransferEncoding::identity;
  std::uint64_t begin = 0, size = 0;
  friend bool operator==(const BlobSlice&, const BlobSlice&) = default;
};

struct BlobKey {
  EmailKey email;
  TransferEncoding encoding = TransferEncoding::identity;
  std::string section;                            // "1.2"; empty: the whole message
  std::optional<blobs::UploadToken> upload = {};  // instead of all that
  std::vector<BlobSlice> slices = {};             // of what is said above, each of the one before
  bool is_upload() const { return upload.has_value(); }
  friend bool operator==(const BlobKey&, const BlobKey&) = default;
};

std::string account_id(store::AccountKey key);
std::string mailbox_id(MailboxKey key);
std::string email_id(const EmailKey& key);
using EmailIdText = std::array<char, 23>;
EmailIdText email_id_text(const EmailKey& key);  // the same; a page has many
std::string thread_id(ThreadKey key);
std::string blob_id(const BlobKey& key);

std::optional<MailboxKey> parse_mailbox_id(std::string_view id);
std::optional<EmailKey> parse_email_id(std::string_view id);
std::optional<ThreadKey> parse_thread_id(std::string_view id);
std::optional<BlobKey> parse_blob_id(std::string_view id);

inline constexpr std::size_t blob_section_bytes_max = 100;
inline constexpr std::size_t blob_slices_max = 3;
// Of a slice's numbers, so that an id has 255 characters at most.
inline constexpr std::uint64_t blob_slice_octets_max = 999'999'999'999'999;

// The blob within another one: slices of what isn't encoded become one. nullopt beyond the bounds above.
std::optional<BlobKey> slice_of(const BlobKey& blob, const BlobSlice& slice);

struct PlaceHash {
  std::size_t operator()(const Place& p) const {
    std::uint64_t h =
        p.mailbox ^ (static_cast<std::uint64_t>(p.uid_validity) << 32 | p.uid) * 0x9E3779B97F4A7C15ull;
    h ^= h >> 32;
    return static_cast<std::size_t>(h * 0xD6E8FEB86659FD93ull);
  }
};

}  // namespace postern::mail
