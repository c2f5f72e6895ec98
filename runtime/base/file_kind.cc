#include "runtime/base/file_kind.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace leasehold {

namespace {

using enum FileKindGroup;

// A format that starts with fixed bytes. Where a text could start with them too, the first bytes
// must also hold a byte that no text has.
struct Magic {
  std::string_view bytes;
  FileKind kind;
  size_t offset = 0;
  bool wants_binary = false;
};

constexpr std::string_view operator""_b(const char* text, size_t size) { return {text, size}; }

constexpr std::string_view kUnpack = "unpack it first";
constexpr std::string_view kExportText =
    "write its text as JSON lines first, an object with a \"text\" a line";
constexpr std::string_view kNoText = "take the file that was meant";
constexpr std::string_view kNumpyWayOut =
    "token arrays of numpy's become readable with `array.astype(\"<u2\").tofile(\"tokens.bin\")` "
    "and --format uint16";

constexpr std::array kMagics = {
    Magic{"\x1F\x8B"_b, {"a gzip file", "unpack it with `gunzip -k`", kCompressed}},
    Magic{"\x28\xB5\x2F\xFD"_b, {"a Zstandard file", "unpack it with `unzstd`", kCompressed}},
    Magic{"\xFD"
          "7zXZ\0"_b,
          {"an xz file", "unpack it with `unxz -k`", kCompressed}},
    Magic{"BZh"_b, {"a bzip2 file", "unpack it with `bunzip2 -k`", kCompressed}, 0, true},
    Magic{"\x04\x22\x4D\x18"_b, {"an LZ4 file", "unpack it with `unlz4`", kCompressed}},
    Magic{"\x02\x21\x4C\x18"_b, {"an LZ4 file", "unpack it with `unlz4`", kCompressed}},
    Magic{"\x1F\x9D"_b, {"a compress(1) file", "unpack it with `uncompress`", kCompressed}},
    Magic{"\x89LZO\0"_b, {"an lzop file", "unpack it with `lzop -d`", kCompressed}},
    Magic{"LZIP"_b, {"an lzip file", "unpack it with `lzip -dk`", kCompressed}, 0, true},
    Magic{"\x5D\0\0"_b, {"an LZMA file", "unpack it with `unlzma -k`", kCompressed}},
    Magic{"\xFF\x06\0\0sNaPpY"_b, {"a Snappy file", kUnpack, kCompressed}},

    Magic{"PK\x03\x04"_b,
          {"a zip archive (as docx, xlsx, epub, npz and PyTorch's .pt are)",
           "unpack it with `unzip`, or take the text or weights out with the program that wrote it",
           kArchive}},
    Magic{"PK\x05\x06"_b, {"an empty zip archive", kNoText, kArchive}},
    Magic{"7z\xBC\xAF\x27\x1C"_b, {"a 7z archive", "unpack it with `7z x`", kArchive}},
    Magic{"Rar!\x1A\x07"_b, {"a RAR archive", "unpack it with `unrar x`", kArchive}},
    Magic{"ustar"_b, {"a tar archive", "unpack it with `tar -xf`", kArchive}, 257, true},
    Magic{"!<arch>\n"_b, {"an ar archive (as .deb and .a are)", kUnpack, kArchive}},
    Magic{"\xED\xAB\xEE\xDB"_b, {"an RPM package", kUnpack, kArchive}},
    Magic{"MSCF\0\0"_b, {"a cabinet archive", kUnpack, kArchive}},
    Magic{"070701"_b, {"a cpio archive", "unpack it with `cpio -i`", kArchive}, 0, true},
    Magic{"hsqs"_b, {"a squashfs image", kUnpack, kArchive}, 0, true},

    Magic{"PAR1"_b, {"a Parquet file", kExportText, kData}, 0, true},
    Magic{"PARE"_b, {"an encrypted Parquet file", kExportText, kData}, 0, true},
    Magic{"ARROW1\0"_b, {"an Arrow file", kExportText, kData}},
    Magic{"\xFF\xFF\xFF\xFF"_b, {"an Arrow stream", kExportText, kData}},
    Magic{"FEA1"_b, {"a Feather file", kExportText, kData}, 0, true},
    Magic{"ORC"_b, {"an ORC file", kExportText, kData}, 0, true},
    Magic{"Obj\x01"_b, {"an Avro file", kExportText, kData}},
    Magic{"\x89HDF\r\n\x1A\n"_b, {"an HDF5 file", kExportText, kData}},
    Magic{"\x93NUMPY"_b, {"a numpy array", kNumpyWayOut, kData}},
    Magic{"SQLite format 3\0"_b, {"an SQLite database", kExportText, kData}},
    Magic{"DUCK"_b, {"a DuckDB database", kExportText, kData}, 8, true},
    Magic{"MMIDIDX"_b, {"the index of a Megatron dataset", "name the pair to prepare", kData}},
    Magic{"GGUF"_b,
          {"a GGUF model", "take the model's Hugging Face folder (safetensors)", kData},
          0,
          true},
    Magic{"\x80\x02"_b, {"a Python pickle", kExportText, kData}},
    Magic{"\x80\x03"_b, {"a Python pickle", kExportText, kData}},
    Magic{"\x80\x04"_b, {"a Python pickle", kExportText, kData}},
    Magic{"\x80\x05"_b, {"a Python pickle", kExportText, kData}},

    Magic{"%PDF-"_b, {"a PDF document", "take its text out with `pdftotext`", kDocument}},
    Magic{"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"_b,
          {"an old Office document", "save it as plain text", kDocument}},
    Magic{"\x89PNG\r\n\x1A\n"_b, {"a PNG picture", kNoText, kDocument}},
    Magic{"\xFF\xD8\xFF"_b, {"a JPEG picture", kNoText, kDocument}},
    Magic{"GIF8"_b, {"a GIF picture", kNoText, kDocument}, 0, true},
    Magic{"BM"_b, {"a BMP picture", kNoText, kDocument}, 0, true},
    Magic{"II*\0"_b, {"a TIFF picture", kNoText, kDocument}},
    Magic{"MM\0*"_b, {"a TIFF picture", kNoText, kDocument}},
    Magic{"RIFF"_b, {"a RIFF file (WAV, WebP, AVI)", kNoText, kDocument}, 0, true},
    Magic{"ID3"_b, {"an MP3 file", kNoText, kDocument}, 0, true},
    Magic{"fLaC"_b, {"a FLAC file", kNoText, kDocument}, 0, true},
    Magic{"OggS\0"_b, {"an Ogg file", kNoText, kDocument}},
    Magic{"ftyp"_b, {"an MP4 file", kNoText, kDocument}, 4, true},
    Magic{"\x1A\x45\xDF\xA3"_b, {"a Matroska or WebM file", kNoText, kDocument}},
    Magic{"\x7F"
          "ELF"_b,
          {"a program (ELF)", kNoText, kDocument}},
    Magic{"MZ"_b, {"a Windows program", kNoText, kDocument}, 0, true},
    Magic{"\xCA\xFE\xBA\xBE"_b, {"a Java class or a macOS program", kNoText, kDocument}},
    Magic{"\xCF\xFA\xED\xFE"_b, {"a macOS program", kNoText, kDocument}},
    Magic{"\0asm"_b, {"a WebAssembly program", kNoText, kDocument}},
    Magic{"wOF2"_b, {"a font", kNoText, kDocument}, 0, true},
    Magic{"\0\x01\0\0\0"_b, {"a font", kNoText, kDocument}},
};

constexpr FileKind kLfsPointer = {
    "a Git LFS pointer, which stands in for a file that was not fetched",
    "fetch the file itself with `git lfs pull` in its repository", kStandIn};
constexpr FileKind kAnnexPointer = {
    "a git-annex pointer, which stands in for a file that was not fetched",
    "fetch the file itself with `git annex get` in its repository", kStandIn};
constexpr FileKind kXmlError = {
    "an XML error message that a server sent instead of the file",
    "download the file again; the message itself says what the server missed", kStandIn};
constexpr FileKind kHubError = {
    "an error message that a server sent instead of the file",
    "download the file again; the message itself says what the server missed", kStandIn};
constexpr FileKind kHtml = {"an HTML page, such as a server sends instead of a file",
                            "download the file again, by the address of the file itself", kMarkup};
constexpr FileKind kXml = {"an XML document, such as a server sends instead of a file",
                           "download the file again, by the address of the file itself", kMarkup};

bool starts_with_word(std::string_view text, std::string_view lower_case) {
  return text.size() >= lower_case.size() &&
         std::equal(lower_case.begin(), lower_case.end(), text.begin(), [](char want, char is) {
           return want == static_cast<char>(std::tolower(static_cast<unsigned char>(is)));
         });
}

// Returns true for a server's error answer alone: a short text in the words of the hosts of models.
bool is_error_answer(std::string_view text) {
  if (text.size() >= kFileKindBytes) return false;
  for (const std::string_view start :
       {"entry not found", "repository not found", "revision not found",
        "invalid username or password", "invalid credentials", "access to model",
        "access to dataset", "404: not found", "404 not found", "403 forbidden",
        "401 unauthorized"}) {
    if (starts_with_word(text, start)) return true;
  }
  return false;
}

const FileKind* recognise_stand_in(std::string_view head) {
  if (head.starts_with("version https://git-lfs.github.com/spec/") ||
      head.starts_with("version https://hawser.github.com/spec/")) {
    return &kLfsPointer;
  }
  if (head.starts_with("/annex/objects/") ||
      (head.size() < kFileKindBytes && head.find(".git/annex/objects/") != head.npos &&
       head.find(' ') == head.npos)) {
    return &kAnnexPointer;
  }
  std::string_view text = head;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  if (starts_with_word(text, "<!doctype html") || starts_with_word(text, "<html") ||
      starts_with_word(text, "<head>")) {
    return &kHtml;
  }
  const bool declared = starts_with_word(text, "<?xml");
  const size_t root = declared ? text.find('<', 1) : 0;
  if (root < text.size() && starts_with_word(text.substr(root), "<error><code>")) return &kXmlError;
  if (declared && root < text.size() && starts_with_word(text.substr(root), "<!doctype html"))
    return &kHtml;
  if (declared) return &kXml;
  return is_error_answer(text) ? &kHubError : nullptr;
}

// Returns true if `head` holds bytes that UTF-8 text has not: a control character other than white
// space, or 0xF8 and above.
bool holds_binary(std::string_view head) {
  return std::ranges::any_of(head, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && (byte < '\t' || byte > '\r') && byte != 0x1B) || byte >= 0xF8;
  });
}

}  // namespace

const FileKind* recognise_file(std::string_view head) {
  head = head.substr(0, kFileKindBytes);
  const bool binary = holds_binary(head);
  for (const Magic& magic : kMagics) {
    if (magic.wants_binary && !binary) continue;
    if (head.size() >= magic.offset && head.substr(magic.offset).starts_with(magic.bytes))
      return &magic.kind;
  }
  return recognise_stand_in(head);
}

Status check_file_kind(std::string_view head, const std::string& path, std::string_view wanted) {
  if (head.empty()) {
    return error(Code::kBadData, "{}: this is empty, not {}; download or make it again", path,
                 wanted);
  }
  const FileKind* kind = recognise_file(head);
  if (kind == nullptr) return ok_status();
  return error(Code::kBadData, "{}: this is {}, not {}; {}", path, kind->name, wanted,
               kind->way_out);
}

}  // namespace leasehold
