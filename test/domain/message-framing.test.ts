/** Checks lines and the bytes that follow them, for any fragmentation. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createFrames } from '../../domain/message-framing.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

it('messages are complete and in order for any fragmentation', () => {
  const said = [
    { line: '{"bytes":5,"rows":1}', bytes: bytes('a\nb\nc') },
    { line: '{"rows":2,"columns":{"bytes":[7]}}', bytes: bytes('') },
    { line: '{"bytes":0}', bytes: bytes('') },
    { line: '{"text":"é"}', bytes: bytes('') },
    { line: '{"bytes":3}', bytes: new Uint8Array([0, 10, 255]) },
  ]
  const whole = Buffer.concat(said.flatMap((each) => [bytes(`${each.line}\n`), each.bytes]))
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 100, maxLength: 100 }), (sizes) => {
      const frames = createFrames()
      const found = []
      for (let at = 0, piece = 0; at < whole.length; at += sizes[piece++]!)
        found.push(...frames(whole.subarray(at, at + sizes[piece]!)))
      expect(found.map((each) => [each.line, [...each.bytes]])).toEqual(
        said.map((each) => [each.line, [...each.bytes]]),
      )
    }),
  )
})
