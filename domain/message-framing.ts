/**
 * Parses messages between processes: lines of JSON, each optionally followed by bytes, which avoids encoding rows as text. A line
 * that begins with `{"bytes":N` is followed by N bytes.
 */
export interface MessageFrame {
  line: string
  bytes: Uint8Array<ArrayBuffer>
}

/** The parts of a message with bytes behind it. */
export function messageParts(head: object, bodies: readonly Uint8Array[]): Uint8Array[] {
  const bytes = bodies.reduce((sum, { byteLength }) => sum + byteLength, 0)
  return [new TextEncoder().encode(`${JSON.stringify({ bytes, ...head })}\n`), ...bodies]
}

/** A parser that takes chunks of any size and returns the completed messages. Throws for a line, or for bytes, of more than `maxBytes`. */
export function createFrames(maxBytes = Infinity): (chunk: Uint8Array) => MessageFrame[] {
  const decoder = new TextDecoder()
  let heads: Uint8Array[] = []
  let headBytes = 0
  const check = (bytes: number): number => {
    if (bytes > maxBytes) throw new RangeError(`a message has ${bytes} bytes, more than ${maxBytes}`)
    return bytes
  }
  let frame: MessageFrame | undefined
  let filled = 0
  return (chunk) => {
    const completed: MessageFrame[] = []
    let rest = chunk
    while (rest.byteLength > 0) {
      if (frame === undefined) {
        const end = rest.indexOf(newline)
        const head = rest.slice(0, end < 0 ? undefined : end)
        headBytes = check(headBytes + head.byteLength)
        heads.push(head)
        if (end < 0) break
        rest = rest.subarray(end + 1)
        const line = decoder.decode(joined(heads))
        heads = []
        headBytes = filled = 0
        frame = { line, bytes: new Uint8Array(check(Number(/^\{"bytes":(\d+)/.exec(line)?.[1] ?? 0))) }
      }
      const taken = rest.subarray(0, frame.bytes.byteLength - filled)
      frame.bytes.set(taken, filled)
      filled += taken.byteLength
      rest = rest.subarray(taken.byteLength)
      if (filled < frame.bytes.byteLength) continue
      completed.push(frame)
      frame = undefined
    }
    return completed
  }
}

const newline = 0x0a

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.byteLength
  }
  return all
}
