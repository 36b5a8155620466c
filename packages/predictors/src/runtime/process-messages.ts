/**
 * Encodes the messages between a replica and a process that computes models: a header of integers, then a head as JSON or the numbers of a
 * run. A run and its outputs have no head, because JSON takes as long as a small graph.
 */
export interface MessageHeader {
  /** The number of bytes after the header. */
  bytes: number
  id: number
  /** The number of bytes of JSON at the start of the content. */
  head: number
  /** For a run: the number of its model, its rows, and the inputs of each row. */
  model: number
  rows: number
  inputs: number
}

/** The largest message. */
export const maxMessageBytes = 268_435_456

/** A multiple of eight, so that the numbers after the header are aligned for 64-bit arrays. */
export const headerBytes = 24

/** Encodes a message as one buffer, so that it takes one system call. */
export function encodeMessage(
  { id, head, model = 0, rows = 0, inputs = 0 }: Partial<Omit<MessageHeader, 'head'>> & { head?: object },
  bodies: readonly Uint8Array[] = [],
): Buffer {
  const json = head === undefined ? '' : JSON.stringify(head)
  const jsonBytes = Buffer.byteLength(json)
  const bytes = bodies.reduce((sum, { byteLength }) => sum + byteLength, jsonBytes)
  const message = Buffer.allocUnsafe(headerBytes + bytes)
  for (const [place, value] of [bytes, id ?? 0, jsonBytes, model, rows, inputs].entries())
    message.writeUInt32LE(value, place * 4)
  message.write(json, headerBytes)
  let at = headerBytes + jsonBytes
  for (const body of bodies) {
    message.set(body, at)
    at += body.byteLength
  }
  return message
}

/** Decodes a header. Throws for a message above the maximum size. */
export function decodeHeader(header: Buffer): MessageHeader {
  const at = (place: number): number => header.readUInt32LE(place * 4)
  const bytes = at(0)
  if (bytes > maxMessageBytes)
    throw new RangeError(`a message has ${bytes} bytes, more than ${maxMessageBytes}`)
  return { bytes, id: at(1), head: at(2), model: at(3), rows: at(4), inputs: at(5) }
}

/** Returns the head of a message and the bytes after it. */
export function splitMessage<Head>(
  { head }: MessageHeader,
  body: Uint8Array<ArrayBuffer>,
): { head: Head; rest: Uint8Array<ArrayBuffer> } {
  const text = Buffer.from(body.buffer, body.byteOffset, head).toString('utf8')
  return { head: JSON.parse(text) as Head, rest: body.subarray(head) }
}

/** Splits chunks of any size into messages, and passes each with its own memory. */
export function createMessages(
  take: (header: MessageHeader, body: Uint8Array<ArrayBuffer>) => void,
): (chunk: Buffer) => void {
  const header = Buffer.alloc(headerBytes)
  let open: { header: MessageHeader; body: Uint8Array<ArrayBuffer> } | undefined
  let filled = 0
  return (chunk) => {
    for (let at = 0; at < chunk.byteLength;) {
      if (open === undefined) {
        const copied = chunk.copy(header, filled, at)
        at += copied
        filled += copied
        if (filled < headerBytes) return
        const found = decodeHeader(header)
        open = { header: found, body: new Uint8Array(found.bytes) }
        filled = 0
      }
      const copied = chunk.copy(open.body, filled, at)
      at += copied
      filled += copied
      if (filled < open.body.byteLength) return
      const whole = open
      open = undefined
      filled = 0
      take(whole.header, whole.body)
    }
  }
}

/** Returns the error that a process has written to its standard error, without the stack and the version that Node writes after it. */
export function errorOf(written: string): string {
  const lines = written.trim().split('\n')
  return lines.findLast((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1)!
}
