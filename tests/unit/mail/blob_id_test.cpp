// Blob ids of uploads, and of what lies within other blobs.
#include <gtest/gtest.h>

#include "postern/mail/ids.hpp"

namespace postern::mail {
namespace {

TEST(Ids, UploadsAndSlicesOfBlobs) {
  const Place place{0x0123456789abcdefull, 0xdeadbeef, 42};
  BlobKey upload;
  upload.upload = blobs::UploadToken{1, 2, 255};
  EXPECT_EQ(parse_blob_id(blob_id(upload)), upload);
  EXPECT_EQ(blob_id(upload).front(), 'u');
  EXPECT_FALSE(parse_blob_id(blob_id(upload) + "_b1")) << "an upload has no sections";
  const BlobKey part{place, TransferEncoding::quoted_printable, "1.2"};
  for (const auto& whole : {upload, part}) {
    auto slice = slice_of(whole, {TransferEncoding::base64, 5, 100});
    ASSERT_TRUE(slice);
    for (std::size_t i = 1; i < blob_slices_max; ++i) {
      EXPECT_EQ(parse_blob_id(blob_id(*slice)), *slice);
      slice = slice_of(*slice, {TransferEncoding::base64, blob_slice_octets_max, blob_slice_octets_max});
      ASSERT_TRUE(slice);
    }
    EXPECT_LE(blob_id(*slice).size(), 255u);
    EXPECT_FALSE(slice_of(*slice, {TransferEncoding::base64, 0, 1})) << "one too many";
    EXPECT_FALSE(parse_blob_id(blob_id(*slice) + "-b0_1"));
    EXPECT_FALSE(slice_of(whole, {TransferEncoding::base64, blob_slice_octets_max + 1, 1}));
  }
  // What isn't encoded is one slice of the whole, however deep it lies.
  const auto outer = slice_of(upload, {TransferEncoding::identity, 10, 100});
  const auto inner = slice_of(*outer, {TransferEncoding::base64, 20, 30});
  ASSERT_TRUE(inner);
  EXPECT_EQ(inner->slices, (std::vector<BlobSlice>{{TransferEncoding::base64, 30, 30}}));
  EXPECT_FALSE(slice_of(*outer, {TransferEncoding::base64, 90, 11})) << "beyond its end";
  for (std::string_view tail : {"-", "-b", "-b1", "-b1_", "-b_1", "-x1_1", "-b01_1", "-b1_1-", "-b1_1_2",
                                "-b1000000000000000_1", "-b1_-1", "-b1_1x"})
    EXPECT_FALSE(parse_blob_id(blob_id(upload) + std::string(tail))) << tail;
}

}  // namespace
}  // namespace postern::mail
