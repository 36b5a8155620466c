/** Reads and writes the wire format of Protocol Buffers. Every length is checked before it is used. */
import { DomainError } from '../../domain/errors.ts'
import { reserve, writeText, type ByteWriter } from '../serving/codec/byte-writer.ts'

/**
 * A message and the position of its next byte, which the readers advance. A nested message shares the bytes and the number of fields that
 * may still be read.
 */
export interface WireMessage {
  bytes: Buffer
  at: number
  end: number
  fields: { left: number; max: number }
}

/**
 * Limits the fields of a message with its nested ones while its model is unknown. An empty field takes two bytes, so four megabytes hold
 * two million. The widest model has 10,000 columns, and a tensor for each takes two fields of the message.
 */
export const maxMessageFields = 32_768

/** The maximum length of a name: of an input, an output, a datatype or a parameter. */
const maxNameLength = 1_000

export const wireType = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const

export const openMessage = (bytes: Buffer, maxFields = maxMessageFields): WireMessage => ({
  bytes,
  at: 0,
  end: bytes.byteLength,
  fields: { left: maxFields, max: maxFields },
})

function malformed(what: string): never {
  throw new DomainError('invalid_request', `the message is not valid: ${what}`)
}

/** Returns the next field and its wire type, as `field << 3 | type`; 0 at the end. */
export function nextTag(message: WireMessage): number {
  if (message.at >= message.end) return 0
  if (--message.fields.left < 0) malformed(`it has more than ${message.fields.max} fields`)
  const tag = readVarint(message)
  if (tag >>> 3 === 0) malformed('a field has the number 0')
  return tag
}

/** Reads an unsigned number; above 2⁵³ it is rounded. */
export function readVarint(message: WireMessage): number {
  const { bytes } = message
  let value = 0
  let scale = 1
  for (let count = 0; count < 10; count++) {
    if (message.at >= message.end) malformed('it ends within a number')
    const byte = bytes[message.at++]!
    value += (byte & 127) * scale
    if (byte < 128) return value
    scale *= 128
  }
  return malformed('a number has more than 10 bytes')
}

/** Counts the numbers from the position of a message to its end, without one that is cut. */
export function countVarints({ bytes, at, end }: WireMessage): number {
  let count = 0
  for (let i = at; i < end; i++) if (bytes[i]! < 128) count++
  return count
}

/** Reads a signed number of 64 bits. */
export function readSigned(message: WireMessage): number {
  const { bytes, at } = message
  const value = readVarint(message)
  const last = at + 9
  // Only a negative number has ten bytes, of which the last holds the sign: −1 − its complement, in two parts that a double holds exactly.
  if (message.at <= last || (bytes[last]! & 1) === 0) return value
  let [high, low] = [0, 0]
  for (let i = at + 8; i >= at + 4; i--) high = high * 128 + (~bytes[i]! & 127)
  for (let i = at + 3; i >= at; i--) low = low * 128 + (~bytes[i]! & 127)
  return -(high * 2 ** 28 + (low + 1))
}

/** Skips a length-delimited field and returns its start. The field ends at the new position of the message. */
function passBytes(message: WireMessage): number {
  const length = readVarint(message)
  const start = message.at
  if (length > message.end - start) malformed('a field is longer than the message')
  message.at = start + length
  return start
}

export function readBytes(message: WireMessage): Buffer {
  const start = passBytes(message)
  return message.bytes.subarray(start, message.at)
}

/**
 * Reads a text that names something. Its bytes are counted before they are decoded, because a text of megabytes blocks the process; a
 * character takes at most three bytes. Throws `invalid_request` above `maxLength` characters.
 */
export function readName(message: WireMessage, what: string, maxLength = maxNameLength): string {
  const start = passBytes(message)
  const isShort = message.at - start <= 3 * maxLength
  const text = isShort ? message.bytes.toString('utf8', start, message.at) : undefined
  if (text === undefined || text.length > maxLength)
    throw new DomainError('invalid_request', `"${what}" is not a text of at most ${maxLength} characters`)
  return text
}

/** Returns the nested message in a field. */
export function readMessage(message: WireMessage): WireMessage {
  const start = passBytes(message)
  return { bytes: message.bytes, at: start, end: message.at, fields: message.fields }
}

export function skipField(message: WireMessage, tag: number): void {
  switch (tag & 7) {
    case wireType.varint:
      readVarint(message)
      return
    case wireType.bytes:
      passBytes(message)
      return
    case wireType.fixed64:
    case wireType.fixed32:
      message.at += (tag & 7) === wireType.fixed64 ? 8 : 4
      if (message.at > message.end) malformed('it ends within a field')
      return
    default:
      malformed(`a field has the wire type ${tag & 7}`)
  }
}

export function writeVarint(writer: ByteWriter, value: number): void {
  reserve(writer, 10)
  let rest = value
  while (rest >= 128) {
    writer.bytes[writer.at++] = (rest % 128) | 128
    rest = Math.floor(rest / 128)
  }
  writer.bytes[writer.at++] = rest
}

export function writeTag(writer: ByteWriter, field: number, type: number): void {
  writeVarint(writer, field * 8 + type)
}

export function writeBytes(writer: ByteWriter, field: number, bytes: Uint8Array): void {
  writeTag(writer, field, wireType.bytes)
  writeVarint(writer, bytes.byteLength)
  reserve(writer, bytes.byteLength)
  writeText(writer, bytes)
}

const asFieldBytes = (field: number, bytes: Uint8Array): Buffer =>
  Buffer.concat([varintBytes(field * 8 + wireType.bytes), varintBytes(bytes.byteLength), bytes])

/** Encodes a signed number as a varint; a negative number takes ten bytes. */
export function varintBytes(value: number): Buffer {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  while (rest >= 128n) {
    bytes.push(Number(rest & 127n) | 128)
    rest >>= 7n
  }
  return Buffer.from([...bytes, Number(rest)])
}

/** Encodes a text field; an empty text gives no bytes. */
export const protoText = (field: number, text: string): Buffer =>
  text === '' ? Buffer.alloc(0) : asFieldBytes(field, Buffer.from(text))
export const protoMessage = (field: number, ...parts: Buffer[]): Buffer =>
  asFieldBytes(field, Buffer.concat(parts))
export const protoNumber = (field: number, value: number): Buffer =>
  Buffer.concat([varintBytes(field * 8 + wireType.varint), varintBytes(value)])
export const protoPacked = (field: number, values: readonly number[]): Buffer =>
  values.length === 0 ? Buffer.alloc(0) : asFieldBytes(field, Buffer.concat(values.map(varintBytes)))
