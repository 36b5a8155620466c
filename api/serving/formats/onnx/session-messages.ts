/**
 * Encodes the messages between a replica and the process of ONNX Runtime: a header of whole numbers, then a head as JSON or the numbers of a
 * run. A run and its answers have no head, because JSON takes as long as a small graph.
 */
import { onnxLimits } from './graph.ts'

export interface SessionHeader {
  /** Of what follows. */
  bytes: number
  id: number
  /** Bytes of JSON at the beginning of what follows. */
  head: number
  /** Of a run: the number of its model, its rows, and the inputs of each. */
  model: number
  rows: number
  inputs: number
}

/** A multiple of eight, so that the numbers behind it lie where 64-bit arrays can begin. */
export const headerBytes = 24

/** One message, so that it takes one call of the system. */
export function encodeMessage(
  { id, head, model = 0, rows = 0, inputs = 0 }: Partial<Omit<SessionHeader, 'head'>> & { head?: object },
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

/** Throws for a message of more bytes than any has. */
export function decodeHeader(header: Buffer): SessionHeader {
  const at = (place: number): number => header.readUInt32LE(place * 4)
  const bytes = at(0)
  if (bytes > onnxLimits.messageBytes)
    throw new RangeError(`a message has ${bytes} bytes, more than ${onnxLimits.messageBytes}`)
  return { bytes, id: at(1), head: at(2), model: at(3), rows: at(4), inputs: at(5) }
}

/** The head of a message, and what follows it. */
export function splitMessage<Head>(
  { head }: SessionHeader,
  body: Uint8Array<ArrayBuffer>,
): { head: Head; rest: Uint8Array<ArrayBuffer> } {
  const text = Buffer.from(body.buffer, body.byteOffset, head).toString('utf8')
  return { head: JSON.parse(text) as Head, rest: body.subarray(head) }
}

/** Takes chunks of any size, and gives each message with memory of its own. */
export function createMessages(
  take: (header: SessionHeader, body: Uint8Array<ArrayBuffer>) => void,
): (chunk: Buffer) => void {
  const header = Buffer.alloc(headerBytes)
  let open: { header: SessionHeader; body: Uint8Array<ArrayBuffer> } | undefined
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

/** The error of what a process has written to its standard error; Node writes its stack and the version of Node behind it. */
export function errorOf(written: string): string {
  const lines = written.trim().split('\n')
  return lines.findLast((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1)!
}
