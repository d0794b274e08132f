#include "picture.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace barswap::replay {
namespace {

constexpr int kWidth = 800, kBarHeight = 18, kBarGap = 6, kLeft = 110, kRight = 110, kPanelGap = 34;
constexpr int kDot = 2;  // pixels of a dot of the font

// Rows of three dots, top to bottom, one octal digit each.
constexpr const char* kGlyphs[] = {
    "a25755", "b65656", "c34443", "d65556", "e74647", "f74644", "g34553", "h55755", "i72227",
    "j11152", "k55655", "l44447", "m57755", "n65555", "o25552", "p65644", "q25563", "r65655",
    "s34216", "t72222", "u55557", "v55552", "w55775", "x55255", "y55222", "z71247", "075557",
    "126227", "261247", "361216", "455711", "574617", "634757", "771244", "875757", "975716",
    "-00700", ".00002", "*05250", "/11244", "%51245", ",00024", "+02720", "(12221", ")42224"};

class Canvas {
 public:
  Canvas(int width, int height)
      : width_(width), height_(height), pixels_(static_cast<std::size_t>(width * height), 0) {
    palette_.push_back({255, 255, 255});
  }
  std::uint8_t ink(const Color& color) {
    const auto found = std::find(palette_.begin(), palette_.end(), color);
    if (found != palette_.end()) return static_cast<std::uint8_t>(found - palette_.begin());
    palette_.push_back(color);
    return static_cast<std::uint8_t>(palette_.size() - 1);
  }
  void fill(int left, int top, int width, int height, std::uint8_t ink) {
    for (int y = std::max(top, 0); y < std::min(top + height, height_); ++y)
      for (int x = std::max(left, 0); x < std::min(left + width, width_); ++x)
        pixels_[static_cast<std::size_t>(y * width_ + x)] = ink;
  }
  void text(int left, int top, const std::string& words, std::uint8_t ink) {
    for (std::size_t i = 0; i < words.size(); ++i)
      glyph(left + static_cast<int>(i) * 4 * kDot, top, words[i], ink);
  }
  static int text_width(const std::string& words) {
    return static_cast<int>(words.size()) * 4 * kDot;
  }
  std::vector<std::uint8_t> png() const;

 private:
  void glyph(int left, int top, char letter, std::uint8_t ink) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
    for (const char* rows : kGlyphs) {
      if (rows[0] != letter) continue;
      for (int y = 0; y < 5; ++y)
        for (int x = 0; x < 3; ++x)
          if ((rows[y + 1] - '0') >> (2 - x) & 1)
            fill(left + x * kDot, top + y * kDot, kDot, kDot, ink);
    }
  }
  const int width_, height_;
  std::vector<std::uint8_t> pixels_;
  std::vector<Color> palette_;
};

using Bytes = std::vector<std::uint8_t>;

void put_big(Bytes& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    out.push_back(static_cast<std::uint8_t>(value >> shift));
}

std::uint32_t crc_of(const std::uint8_t* bytes, std::size_t size) {
  std::uint32_t crc = ~0u;
  for (std::size_t i = 0; i < size; ++i) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
  }
  return ~crc;
}

void put_piece(Bytes& out, const char* kind, const Bytes& body) {
  put_big(out, static_cast<std::uint32_t>(body.size()));
  const std::size_t start = out.size();
  out.insert(out.end(), kind, kind + 4);
  out.insert(out.end(), body.begin(), body.end());
  put_big(out, crc_of(out.data() + start, out.size() - start));
}

// zlib's form, with blocks that are stored as they are.
Bytes stored(const Bytes& raw) {
  constexpr std::size_t kBlock = 65535;
  Bytes out = {0x78, 0x01};
  for (std::size_t at = 0; at < raw.size(); at += kBlock) {
    const std::size_t size = std::min(kBlock, raw.size() - at);
    out.push_back(at + size == raw.size() ? 1 : 0);
    for (const std::size_t word : {size, ~size}) {
      out.push_back(static_cast<std::uint8_t>(word));
      out.push_back(static_cast<std::uint8_t>(word >> 8));
    }
    out.insert(out.end(), raw.begin() + static_cast<std::ptrdiff_t>(at),
               raw.begin() + static_cast<std::ptrdiff_t>(at + size));
  }
  std::uint32_t low = 1, high = 0;
  for (const std::uint8_t byte : raw) {
    low = (low + byte) % 65521;
    high = (high + low) % 65521;
  }
  put_big(out, high << 16 | low);
  return out;
}

Bytes Canvas::png() const {
  Bytes out = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  Bytes head;
  put_big(head, static_cast<std::uint32_t>(width_));
  put_big(head, static_cast<std::uint32_t>(height_));
  head.insert(head.end(), {8, 3, 0, 0, 0});  // eight bits, an index into the palette
  put_piece(out, "IHDR", head);
  Bytes colors;
  for (const Color& color : palette_) colors.insert(colors.end(), color.begin(), color.end());
  put_piece(out, "PLTE", colors);
  Bytes raw;
  for (int y = 0; y < height_; ++y) {
    raw.push_back(0);  // no filter
    const auto row = pixels_.begin() + y * width_;
    raw.insert(raw.end(), row, row + width_);
  }
  put_piece(out, "IDAT", stored(raw));
  put_piece(out, "IEND", {});
  return out;
}

double sum_of(const Bar& bar) {
  double sum = 0;
  for (const double part : bar.parts) sum += part;
  return sum;
}

std::string number_text(double value, const std::string& unit) {
  char text[64];
  std::snprintf(text, sizeof text, value < 10 ? "%.2f %s" : "%.0f %s", value, unit.c_str());
  return text;
}

int height_of(const Panel& panel) {
  return static_cast<int>(panel.bars.size()) * (kBarHeight + kBarGap) + kPanelGap;
}

void draw(Canvas& canvas, const Panel& panel, int top) {
  const std::uint8_t black = canvas.ink({0, 0, 0}), grey = canvas.ink({200, 200, 200});
  canvas.text(8, top + 8, panel.title, black);
  int x = 8 + Canvas::text_width(panel.title) + 24;
  for (std::size_t i = 0; i < panel.legend.size(); ++i) {
    canvas.fill(x, top + 8, 10, 10, canvas.ink(panel.colors[i]));
    canvas.text(x + 14, top + 8, panel.legend[i], black);
    x += 14 + Canvas::text_width(panel.legend[i]) + 14;
  }
  double most = panel.mark;
  for (const Bar& bar : panel.bars) most = std::max(most, sum_of(bar));
  const double scale = most > 0 ? (kWidth - kLeft - kRight) / most : 0;
  int y = top + kPanelGap - 8;
  for (const Bar& bar : panel.bars) {
    canvas.text(8, y + 4, bar.name, black);
    double before = 0;
    for (std::size_t i = 0; i < bar.parts.size(); ++i) {
      const int from = kLeft + static_cast<int>(before * scale);
      before += bar.parts[i];
      const int to = kLeft + static_cast<int>(before * scale);
      canvas.fill(from, y, to - from, kBarHeight, canvas.ink(panel.colors[i]));
    }
    canvas.fill(kLeft - 1, y, 1, kBarHeight, grey);
    canvas.text(kLeft + static_cast<int>(before * scale) + 6, y + 4,
                number_text(before, panel.unit), black);
    y += kBarHeight + kBarGap;
  }
  if (panel.mark > 0)
    canvas.fill(kLeft + static_cast<int>(panel.mark * scale), top + kPanelGap - 12, 2,
                height_of(panel) - kPanelGap + 4, black);
}

}  // namespace

std::vector<std::uint8_t> picture_of(const std::vector<Panel>& panels) {
  int height = 8;
  for (const Panel& panel : panels) height += height_of(panel);
  Canvas canvas(kWidth, height);
  int top = 0;
  for (const Panel& panel : panels) {
    draw(canvas, panel, top);
    top += height_of(panel);
  }
  return canvas.png();
}

}  // namespace barswap::replay
