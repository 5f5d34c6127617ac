// What a web request is read for: nothing that comes from a browser gets out of its place in an answer.
#include <cstdint>
#include <string>

#include "broker/http.hpp"
#include "postern/base/encoding.hpp"
#include "require.hpp"

using namespace postern;
using namespace postern::broker;

namespace {

bool is_field_value(std::string_view text) {
  for (char c : text)
    if (c < 0x20 || c >= 0x7F) return false;
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string input(reinterpret_cast<const char*>(bytes), size);
  ipc::RequestHead head;
  head.target = input;
  head.script_name = input.substr(0, input.find('?') / 2);
  head.scheme = input;
  head.host = input;
  head.remote_address = "192.0.2.1";
  head.fields = {{"x-forwarded-proto", input}, {"x-forwarded-host", input}, {"x-forwarded-for", input}};
  const auto target = split_target(head);
  require(!target.path.empty());
  head.script_name.clear();
  for (const bool trusted : {false, true}) require(is_field_value(base_url(head, {}, trusted)));
  for (const auto& proxies : {std::vector<std::string>{}, {"192.0.2.1"}, {"0.0.0.0/0", "::/0"}}) {
    const auto client = client_address(head, proxies);
    require(address_matches(client, client));
  }
  if (const auto decoded = percent_decode(input))
    require(decoded->size() <= size && decoded->size() * 3 >= size);
  (void)query_value(input, "accept");
  (void)cookie_value(input, "a");
  (void)jwt_claim(input, {"email", "sub"});
  (void)jwt_claim("." + base64url_encode(input) + ".", {"email", "sub"});
  if (const auto bearer = parse_bearer(input)) require(!bearer->empty());
  for (const auto& authorization : {input, "Basic " + base64_encode(input)})
    if (const auto basic = parse_basic(authorization))
      require(!basic->login.empty() && basic->login.find(':') == std::string::npos);
  (void)address_matches(input, "192.0.2.1");
  (void)address_matches("192.0.2.0/24", input);
  (void)origin_of(input);
  (void)media_type(input);
  if (is_media_type(input)) require(is_field_value(input));
  const auto disposition = content_disposition(input);
  require(is_field_value(disposition) && disposition.starts_with("attachment"));
  return 0;
}
