// Readers of blobs that are in a file, or within another blob. Private to the mail layer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "postern/blobs/upload_store.hpp"
#include "postern/io/loop.hpp"
#include "postern/mail/mailstore.hpp"

namespace postern::mail {

// Octets of a file that are read at a time; between two pieces others have their turn on the loop.
inline constexpr std::size_t file_piece_bytes = 256 * 1024;

std::unique_ptr<BlobReader> make_file_reader(io::Loop& loop, blobs::UploadFilePtr file);
// Those octets of the blob, decoded.
std::unique_ptr<BlobReader> make_slice_reader(std::unique_ptr<BlobReader> blob, const BlobSlice& slice);

// Takes away as much of what is still to be dropped as there is.
inline void drop_front(std::string& octets, std::uint64_t& to_drop) {
  const auto dropped = std::min<std::uint64_t>(octets.size(), to_drop);
  octets.erase(0, static_cast<std::size_t>(dropped));
  to_drop -= dropped;
}

}  // namespace postern::mail
