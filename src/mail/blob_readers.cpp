// Files and slices of blobs, piece by piece. A reader belongs to one coroutine of one loop and holds one piece.
#include "mail/blob_readers.hpp"

#include <utility>

namespace postern::mail {
namespace {

class FileBlobReader final : public BlobReader {
 public:
  FileBlobReader(io::Loop& loop, blobs::UploadFilePtr file) : loop_(loop), file_(std::move(file)) {}

  std::optional<std::uint64_t> size() const override { return file_->size() - offset_; }
  void skip(std::uint64_t octets) override { offset_ = std::min(file_->size(), octets); }
  bool is_local() const override { return true; }
  io::Task<Result<std::string>> next() override {
    if (begun_) co_await loop_.sleep(Duration::zero());
    begun_ = true;
    auto piece = file_->read(offset_, file_piece_bytes);
    if (!piece) co_return fail(Errc::not_found, piece.error().to_string());
    offset_ += piece->size();
    co_return std::move(*piece);
  }

 private:
  io::Loop& loop_;
  blobs::UploadFilePtr file_;
  std::uint64_t offset_ = 0;
  bool begun_ = false;
};

class SliceBlobReader final : public BlobReader {
 public:
  SliceBlobReader(std::unique_ptr<BlobReader> blob, const BlobSlice& slice)
      : blob_(std::move(blob)), slice_(slice), left_(slice.size), decoder_(slice.encoding) {}

  std::optional<std::uint64_t> size() const override {
    // How long something decoded is, only its end tells; what it is decoded from may be shorter than was said.
    if (slice_.encoding != TransferEncoding::identity || !blob_->size()) return std::nullopt;
    return left_;
  }
  void skip(std::uint64_t octets) override {
    if (slice_.encoding != TransferEncoding::identity) {
      to_drop_ = octets;
      return;
    }
    const auto skipped = std::min(left_, octets);
    slice_.begin += skipped;
    left_ -= skipped;
  }
  bool is_local() const override { return blob_->is_local(); }
  io::Task<Result<std::string>> next() override {
    if (!std::exchange(begun_, true)) blob_->skip(slice_.begin);
    std::string out;
    while (out.empty() && !ended_) {
      std::string piece;
      if (left_ > 0) {
        auto read = co_await blob_->next();
        if (!read) co_return fail(read.error());
        piece = std::move(*read);
      }
      ended_ = piece.empty();
      piece.resize(static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), left_)));
      left_ -= piece.size();
      if (slice_.encoding == TransferEncoding::identity) {
        out = std::move(piece);
      } else {
        decoder_.feed(piece, out);
        if (ended_) decoder_.finish(out);
      }
      drop_front(out, to_drop_);
    }
    co_return out;
  }

 private:
  std::unique_ptr<BlobReader> blob_;
  BlobSlice slice_;
  std::uint64_t left_, to_drop_ = 0;
  TransferDecoder decoder_;
  bool begun_ = false, ended_ = false;
};

}  // namespace

std::unique_ptr<BlobReader> make_file_reader(io::Loop& loop, blobs::UploadFilePtr file) {
  return std::make_unique<FileBlobReader>(loop, std::move(file));
}

std::unique_ptr<BlobReader> make_slice_reader(std::unique_ptr<BlobReader> blob, const BlobSlice& slice) {
  return std::make_unique<SliceBlobReader>(std::move(blob), slice);
}

}  // namespace postern::mail
