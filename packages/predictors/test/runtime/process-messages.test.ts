/**
 * Tests that messages to and from a process that computes models are complete for any fragmentation, and that none announces more than the
 * limit.
 */
import { expect, it } from 'vitest'
import {
  createMessages,
  encodeMessage,
  errorOf,
  headerBytes,
  maxMessageBytes,
  splitMessage,
  type MessageHeader,
} from '../../src/runtime/process-messages.ts'

const numbers = Float64Array.of(1.5, -2, 3e300)
const bodyOf = (values: Float64Array): Uint8Array => new Uint8Array(values.buffer)
const sent = Buffer.concat([
  encodeMessage({ id: 7, head: { error: 'größer' } }, [Buffer.from('file')]),
  encodeMessage({ id: 2 ** 32 - 1, model: 3, rows: 1, inputs: 3 }, [bodyOf(numbers), Buffer.from('texts')]),
  encodeMessage({ id: 9 }),
])

it.each([1, 7, 23, 24, 25, 64, 1_000])('messages are read from chunks of %i bytes', (size) => {
  const got: { header: MessageHeader; body: Uint8Array<ArrayBuffer> }[] = []
  const read = createMessages((header, body) => got.push({ header, body }))
  // A header that ends a chunk, with nothing after it, waits for the next chunk.
  const chunks = Buffer.concat([sent, encodeMessage({ id: 10 })])
  for (let at = 0; at < chunks.byteLength; at += size) read(chunks.subarray(at, at + size))
  const [first, run, empty] = got
  const { head, rest } = splitMessage<{ error: string }>(first!.header, first!.body)
  expect([head, Buffer.from(rest).toString()]).toEqual([{ error: 'größer' }, 'file'])
  expect(run!.header).toMatchObject({ id: 2 ** 32 - 1, head: 0, model: 3, rows: 1, inputs: 3 })
  expect(new Float64Array(run!.body.buffer, 0, 3)).toEqual(numbers)
  expect(Buffer.from(run!.body.buffer, 24).toString()).toBe('texts')
  expect(empty!.header).toMatchObject({ id: 9, bytes: 0 })
  expect(got.map(({ header }) => header.id)).toEqual([7, 2 ** 32 - 1, 9, 10])
})

it('a message that announces more bytes than the limit is refused before memory is allocated', () => {
  const header = Buffer.alloc(headerBytes)
  header.writeUInt32LE(maxMessageBytes + 1)
  expect(() => createMessages(() => {})(header)).toThrow(/a message has 268435457 bytes, more than/)
})

it.each([
  [
    'of Node',
    'node:fs:797\n  ^\n\nError: EINVAL: read\n    at readSync\n\nNode.js v24.21.0\n',
    'Error: EINVAL: read',
  ],
  ['of a native library', 'terminate called\nbad_alloc\n', 'bad_alloc'],
  ['without a word', '', ''],
])('the error %s is reported by its line', (_, written, line) => expect(errorOf(written)).toBe(line))
