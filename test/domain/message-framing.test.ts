/** Tests lines and the bytes that follow them, for any fragmentation. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createFrames, messageParts } from '../../domain/message-framing.ts'

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

it('a message is read as it was written', () => {
  const [doubles, text] = [Float64Array.of(1, NaN, -0), bytes('{"bytes":9}\n')]
  const parts = messageParts({ id: 7, note: 'a\nb' }, [new Uint8Array(doubles.buffer), text])
  const [only, ...more] = createFrames(1_000)(Buffer.concat(parts))
  expect(more).toEqual([])
  expect(JSON.parse(only!.line)).toEqual({ bytes: 36, id: 7, note: 'a\nb' })
  expect(new Float64Array(only!.bytes.buffer, 0, 3)).toEqual(doubles)
  expect(only!.bytes.subarray(24)).toEqual(text)
})

it.each([
  ['bytes', ['{"bytes":101}\n']],
  ['a line in one piece', [`${'x'.repeat(101)}\n`]],
  ['a line in pieces', ['x'.repeat(60), 'x'.repeat(60)]],
])('a message with more than the most %s is refused before memory is taken for it', (_what, chunks) => {
  const frames = createFrames(100)
  expect(frames(bytes('{"bytes":100}\n'))).toEqual([])
  expect(frames(new Uint8Array(100))).toHaveLength(1)
  expect(() => chunks.forEach((chunk) => frames(bytes(chunk)))).toThrow(/bytes, more than 100/)
})
