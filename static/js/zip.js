/** A zip archive of some files, made without reading all of them into memory at once. */

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});
const STORED = 0;
const DEFLATED = 8;
const UTF8_NAMES = 0x800;

/** @param {Uint8Array} chunk @param {number} crc of what came before */
function crc32(chunk, crc) {
  for (const byte of chunk) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return crc;
}

/**
 * @param {Blob} file
 * @returns {Promise<{data: Blob, method: number, crc: number}>}
 */
async function pack(file) {
  let crc = 0xffffffff;
  const counted = file.stream().pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        crc = crc32(chunk, crc);
        controller.enqueue(chunk);
      },
    }),
  );
  const packed = counted.pipeThrough(new CompressionStream("deflate-raw"));
  const data = await new Response(packed).blob();
  // Read whole by now, and so is its checksum.
  const isSmaller = data.size < file.size;
  return {
    data: isSmaller ? data : file,
    method: isSmaller ? DEFLATED : STORED,
    crc: ~crc >>> 0,
  };
}

/** @param {[number, number][]} fields as [bytes, value] @returns {Uint8Array} */
function record(fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [bytes]) => sum + bytes, 0)));
  let at = 0;
  for (const [bytes, value] of fields) {
    if (bytes === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += bytes;
  }
  return new Uint8Array(view.buffer);
}

/**
 * @param {{path: string, file: Blob}[]} files at most 65,534, and 4 GiB of them
 * @param {(done: number) => void} onPacked after each file
 * @returns {Promise<Blob>}
 */
export async function zip(files, onPacked) {
  const parts = [];
  const listing = [];
  let offset = 0;
  for (const [index, { path, file }] of files.entries()) {
    const name = new TextEncoder().encode(path);
    const { data, method, crc } = await pack(file);
    const facts = [
      [2, 20], [2, UTF8_NAMES], [2, method], [2, 0], [2, 0x21], // of 1 January 1980
      [4, crc], [4, data.size], [4, file.size], [2, name.length], [2, 0],
    ];
    parts.push(record([[4, 0x04034b50], ...facts]), name, data);
    listing.push(
      record([[4, 0x02014b50], [2, 20], ...facts, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]),
      name,
    );
    offset += 30 + name.length + data.size;
    onPacked(index + 1);
  }
  const list = new Blob(listing);
  const end = record([
    [4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length],
    [4, list.size], [4, offset], [2, 0],
  ]);
  return new Blob([...parts, list, end], { type: "application/zip" });
}
