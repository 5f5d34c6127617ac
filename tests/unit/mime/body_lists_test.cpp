// textBody, htmlBody, attachments, hasAttachment: RFC 8621, 4.1.4.
#include <gtest/gtest.h>

#include <algorithm>

#include "postern/mail/mime/body_parts.hpp"

namespace postern::mail {
namespace {

// A part whose name in these tests is kept in `location`.
EmailBodyPart part(std::string type, std::string label, std::optional<std::string> disposition = std::nullopt,
                   std::optional<std::string> name = std::nullopt) {
  EmailBodyPart out;
  out.type = std::move(type);
  out.location = std::move(label);
  out.disposition = std::move(disposition);
  out.name = std::move(name);
  return out;
}

EmailBodyPart multi(std::string subtype, std::vector<EmailBodyPart> parts) {
  EmailBodyPart out;
  out.type = "multipart/" + subtype;
  out.sub_parts = std::move(parts);
  return out;
}

std::string labels(const std::vector<const EmailBodyPart*>& list) {
  std::string out;
  for (const auto* item : list) out += *item->location;
  return out;
}

void expect_lists(const EmailBodyPart& root, const std::string& text, const std::string& html,
                  const std::string& attachments, bool has_attachment) {
  const BodyLists lists = make_body_lists(root);
  EXPECT_EQ(labels(lists.text_body), text);
  EXPECT_EQ(labels(lists.html_body), html);
  EXPECT_EQ(labels(lists.attachments), attachments);
  EXPECT_EQ(lists.has_attachment, has_attachment);
}

TEST(BodyLists, ExampleOfRfc8621) {
  expect_lists(
      multi(
          "mixed",
          {part("text/plain", "A", "inline"),
           multi("mixed",
                 {multi("alternative",
                        {multi("mixed", {part("text/plain", "B", "inline"), part("image/jpeg", "C", "inline"),
                                         part("text/plain", "D", "inline")}),
                         multi("related", {part("text/html", "E"), part("image/jpeg", "F")})}),
                  part("image/jpeg", "G", "attachment"), part("application/x-excel", "H"),
                  part("message/rfc822", "J")}),
           part("text/plain", "K", "inline")}),
      "ABCDK", "AEK", "CFGHJ", true);
}

TEST(BodyLists, SingleParts) {
  expect_lists(part("text/plain", "A"), "A", "A", "", false);
  expect_lists(part("text/html", "A"), "A", "A", "", false);
  expect_lists(part("image/png", "A"), "A", "A", "", false);
  expect_lists(part("application/pdf", "A"), "", "", "A", true);
  expect_lists(part("text/plain", "A", "attachment"), "", "", "A", true);
  expect_lists(part("text/plain", "A", std::nullopt, "a.txt"), "A", "A", "", false);
}

TEST(BodyLists, Alternative) {
  expect_lists(multi("alternative", {part("text/plain", "A"), part("text/html", "B")}), "A", "B", "", false);
  expect_lists(multi("alternative", {part("text/plain", "A")}), "A", "A", "", false);
  expect_lists(multi("alternative", {part("text/html", "B")}), "B", "B", "", false);
  expect_lists(
      multi("alternative", {part("text/plain", "A"), part("text/html", "B"), part("text/calendar", "C")}),
      "A", "B", "C", true);
  expect_lists(multi("alternative", {part("text/plain", "A"), part("image/png", "B")}), "A", "A", "B", true);
}

TEST(BodyLists, MixedWithAttachments) {
  expect_lists(
      multi("mixed", {part("text/plain", "A"), part("text/plain", "B", std::nullopt, "b.txt"),
                      part("text/plain", "C"), part("image/png", "D"), part("application/pdf", "E")}),
      "ACD", "ACD", "BE", true);
  expect_lists(multi("mixed", {part("text/plain", "A"), part("application/pdf", "E", "inline")}), "A", "A",
               "E", false);
}

TEST(BodyLists, RelatedOnlyTheFirstIsInline) {
  expect_lists(multi("related", {part("text/html", "A"), part("image/png", "B"), part("text/html", "C")}),
               "A", "A", "BC", true);
}

TEST(BodyLists, NestedAlternativeInsideOneSide) {
  // Inside the HTML side of an alternative, an alternative's text/plain has no list to go to: it is an attachment,
  // as whatever is in neither list.
  expect_lists(
      multi("alternative",
            {part("text/plain", "A"),
             multi("mixed", {part("text/html", "B"),
                             multi("alternative", {part("text/plain", "C"), part("text/html", "D")})})}),
      "A", "BD", "C", true);
}

TEST(BodyLists, MediaInBothListsAreNoAttachments) {
  expect_lists(multi("alternative", {multi("mixed", {part("text/plain", "A"), part("image/png", "B")})}),
               "AB", "AB", "", false);
}

TEST(BodyLists, EverythingIsSomewhere) {
  // In neither list is in attachments; that is what the property says, whatever the structure.
  const std::vector<std::string> types = {"text/plain", "text/html", "image/png", "application/pdf",
                                          "message/rfc822"};
  const std::vector<std::string> multis = {"mixed", "alternative", "related", "digest"};
  unsigned seed = 1;
  const auto random = [&seed](std::size_t n) {
    seed = seed * 1'103'515'245U + 12'345U;
    return (seed >> 16) % n;
  };
  const auto tree = [&](auto&& self, int depth) -> EmailBodyPart {
    if (depth == 0 || random(3) == 0) {
      EmailBodyPart out = part(types[random(types.size())], "x");
      if (random(4) == 0) out.disposition = random(2) == 0 ? "inline" : "attachment";
      if (random(4) == 0) out.name = "n";
      return out;
    }
    std::vector<EmailBodyPart> parts;
    for (std::size_t i = random(4) + 1; i > 0; --i) parts.push_back(self(self, depth - 1));
    return multi(multis[random(multis.size())], std::move(parts));
  };
  const auto count = [](auto&& self, const EmailBodyPart& root,
                        std::vector<const EmailBodyPart*>& out) -> void {
    if (!root.is_multipart()) out.push_back(&root);
    for (const auto& sub_part : root.sub_parts) self(self, sub_part, out);
  };
  for (int i = 0; i < 2'000; ++i) {
    const EmailBodyPart root = tree(tree, 5);
    const BodyLists lists = make_body_lists(root);
    std::vector<const EmailBodyPart*> all;
    count(count, root, all);
    for (const auto* item : all) {
      const auto times = [item](const std::vector<const EmailBodyPart*>& list) {
        return std::count(list.begin(), list.end(), item);
      };
      EXPECT_LE(times(lists.text_body), 1);
      EXPECT_LE(times(lists.html_body), 1);
      EXPECT_LE(times(lists.attachments), 1);
      const bool media = item->type == "image/png";
      const bool in_both = times(lists.text_body) + times(lists.html_body) == 2;
      const bool in_none = times(lists.text_body) + times(lists.html_body) == 0;
      ASSERT_EQ(times(lists.attachments) == 1, in_none || (media && !in_both)) << "tree " << i;
    }
  }
}

TEST(HasAttachment, IgnoresWhatIsEmbedded) {
  imap::BodyStructure image;
  image.type = "image";
  image.subtype = "png";
  image.id = "<a@b>";
  imap::BodyStructure html;
  html.type = "text";
  html.subtype = "html";
  imap::BodyStructure related;
  related.type = "multipart";
  related.subtype = "related";
  related.parts.push_back(std::move(html));
  related.parts.push_back(std::move(image));
  EmailBodyPart root = make_body_parts(related);
  EXPECT_FALSE(make_body_lists(root).has_attachment);
  EXPECT_EQ(make_body_lists(root).attachments.size(), 1u);
  related.parts[1].disposition = "attachment";
  root = make_body_parts(related);
  EXPECT_TRUE(make_body_lists(root).has_attachment);
  related.parts[1].disposition.reset();
  related.parts[1].id.reset();
  root = make_body_parts(related);
  EXPECT_TRUE(make_body_lists(root).has_attachment);
}

TEST(HasAttachment, IgnoresSignatures) {
  imap::BodyStructure text, signature, root;
  text.type = "text";
  text.subtype = "plain";
  signature.type = "application";
  signature.subtype = "pgp-signature";
  root.type = "multipart";
  root.subtype = "signed";
  root.parts.push_back(std::move(text));
  root.parts.push_back(std::move(signature));
  const EmailBodyPart tree = make_body_parts(root);
  EXPECT_FALSE(make_body_lists(tree).has_attachment);
  EXPECT_EQ(make_body_lists(tree).attachments.size(), 1u);
}

}  // namespace
}  // namespace postern::mail
