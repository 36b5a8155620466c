/**
 * Frames of the socket between a replica and its process of ONNX Runtime: four bytes with the length of the rest, four with that of the head,
 * the head as JSON, and bytes.
 */

export interface Frame<Head> {
  head: Head
  /** A part of a larger buffer; its numbers are read by copy. */
  body: Buffer
}

const lengthBytes = 4
const maxFrameBytes = 268_435_456

/** The parts of a frame, for one `writev`. */
export function frameOf(head: object, bodies: readonly Uint8Array[] = []): Uint8Array[] {
  const text = Buffer.from(JSON.stringify(head))
  const body = bodies.reduce((sum, { byteLength }) => sum + byteLength, 0)
  const lengths = Buffer.allocUnsafe(2 * lengthBytes)
  lengths.writeUInt32LE(lengthBytes + text.byteLength + body, 0)
  lengths.writeUInt32LE(text.byteLength, lengthBytes)
  return [lengths, text, ...bodies]
}

/** Puts frames together from the chunks of a socket. Throws for a frame that cannot be. */
export function frameReader<Head>(receive: (frame: Frame<Head>) => void): (chunk: Buffer) => void {
  let chunks: Buffer[] = []
  let held = 0
  let wanted = lengthBytes
  return (chunk) => {
    chunks.push(chunk)
    held += chunk.byteLength
    while (held >= wanted) {
      const all = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, held)
      const size = lengthBytes + all.readUInt32LE(0)
      if (size > maxFrameBytes) throw new Error(`a frame has ${size} bytes, more than ${maxFrameBytes}`)
      chunks = [all]
      wanted = size
      if (held < size) return
      const headTo = 2 * lengthBytes + all.readUInt32LE(lengthBytes)
      const head = JSON.parse(all.toString('utf8', 2 * lengthBytes, headTo)) as Head
      chunks = held > size ? [all.subarray(size)] : []
      held -= size
      wanted = lengthBytes
      receive({ head, body: all.subarray(headTo, size) })
    }
  }
}

/** A copy of a part of a body as numbers, which must be aligned. */
export function doublesOf(body: Buffer, from: number, to: number): Float64Array {
  const copy = new Float64Array((to - from) / 8)
  Buffer.from(copy.buffer).set(body.subarray(from, to))
  return copy
}

export function singlesOf(body: Buffer): Float32Array {
  const copy = new Float32Array(body.byteLength / 4)
  Buffer.from(copy.buffer).set(body)
  return copy
}

export const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)
