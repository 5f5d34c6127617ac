// Runs a fuzz target over files: replay_NAME CORPUS_DIRECTORY|FILE...
//
// Every seed and every input that once broke the target is run as an ordinary test where libFuzzer isn't there for
// that, and by any compiler. Besides the file as it is, its first half, quarter and so on are run: a network cuts input
// off.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_of(const fs::path& given) {
  if (!fs::is_directory(given)) return {given};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(given)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool replay(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    std::fprintf(stderr, "replay: %s cannot be read\n", file.c_str());
    return false;
  }
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  std::vector<std::uint8_t> input(bytes.begin(), bytes.end());
  // Printed before the run: it is the last line when the target dies.
  std::fprintf(stderr, "replay: %s (%zu bytes)\n", file.c_str(), input.size());
  for (std::size_t size = input.size();; size /= 2) {
    // A copy of exactly that size, so that a sanitizer sees the first byte read past the end.
    const std::vector<std::uint8_t> part(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(size));
    LLVMFuzzerTestOneInput(part.data(), part.size());
    if (size == 0) return true;
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t replayed = 0;
  for (int i = 1; i < argc; ++i) {
    for (const fs::path& file : files_of(argv[i])) {
      if (!replay(file)) return 1;
      ++replayed;
    }
  }
  if (replayed == 0) {
    std::fprintf(stderr, "replay: no input given, or the corpus is empty\n");
    return 1;
  }
  return 0;
}
