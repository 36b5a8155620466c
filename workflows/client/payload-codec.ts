/**
 * Encrypts the payloads that Temporal stores (AES-256-GCM), so that neither its database nor its web UI shows plain text. The first key of
 * the ring encrypts; every key decrypts. Payloads stored before encryption was enabled stay readable.
 */
import type { DataConverter, Payload, PayloadCodec } from '@temporalio/common'
import proto from '@temporalio/proto'
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { parseJson } from '../../domain/parse-json.ts'
import type { PayloadKey } from './settings.ts'

const { Payload: Message } = proto.temporal.api.common.v1
/** The encoding of Temporal's own samples, so that workers in other languages can read the payloads. */
const encoding = Buffer.from('binary/encrypted')
const cipher = Buffer.from('AES-256-GCM')
const ivBytes = 12
const tagBytes = 16

export function createPayloadCodec(ring: readonly PayloadKey[]): PayloadCodec {
  const [newest] = ring
  return {
    encode: async (payloads) =>
      newest === undefined ? payloads : payloads.map((payload) => encrypt(newest, payload)),
    decode: async (payloads) => payloads.map((payload) => decrypt(ring, payload)),
  }
}

/** Returns the data converter for clients and workers; empty without a key. */
export const dataConverterOf = ({
  payloadKeys = [],
}: {
  payloadKeys?: readonly PayloadKey[]
}): DataConverter => (payloadKeys.length === 0 ? {} : { payloadCodecs: [createPayloadCodec(payloadKeys)] })

function encrypt({ id, secret }: PayloadKey, payload: Payload): Payload {
  const iv = randomBytes(ivBytes)
  const made = createCipheriv('aes-256-gcm', secret, iv)
  const keyId = Buffer.from(id)
  made.setAAD(keyId)
  const data = Buffer.concat([
    iv,
    made.update(Message.encode(payload).finish()),
    made.final(),
    made.getAuthTag(),
  ])
  return { metadata: { encoding, 'encryption-cipher': cipher, 'encryption-key-id': keyId }, data }
}

/** Returns the id of the key that encrypted the payload; undefined for plain text, and for an encrypted payload without a key id. */
export function keyIdOf({ metadata }: Payload): string | undefined {
  if (!metadata?.['encoding'] || !encoding.equals(metadata['encoding'])) return undefined
  return Buffer.from(metadata['encryption-key-id'] ?? []).toString() || undefined
}

/** Returns a payload that cannot be decrypted unchanged. The converter then refuses its unknown encoding. */
function decrypt(ring: readonly PayloadKey[], payload: Payload): Payload {
  const { data } = payload
  const keyId = keyIdOf(payload)
  const key = ring.find(({ id }) => id === keyId)
  if (key === undefined || !data || data.byteLength < ivBytes + tagBytes) return payload
  const bytes = Buffer.from(data)
  const made = createDecipheriv('aes-256-gcm', key.secret, bytes.subarray(0, ivBytes))
  made.setAAD(Buffer.from(key.id))
  made.setAuthTag(bytes.subarray(-tagBytes))
  try {
    const plain = [made.update(bytes.subarray(ivBytes, -tagBytes)), made.final()]
    return Message.toObject(Message.decode(Buffer.concat(plain)), { bytes: Buffer }) as Payload
  } catch {
    return payload
  }
}

/** Returns the message of a failure, which may also be encrypted. */
export async function messageOfFailure(
  { message, encodedAttributes }: proto.temporal.api.failure.v1.IFailure,
  codecs: readonly PayloadCodec[],
): Promise<string> {
  if (!encodedAttributes) return message ?? ''
  const attributes = await decodeJson<{ message?: string }>(encodedAttributes, codecs)
  return attributes?.message ?? message ?? ''
}

/** Returns the value of a payload; undefined when it is not JSON. */
export async function decodeJson<T>(
  payload: Payload,
  codecs: readonly PayloadCodec[],
): Promise<T | undefined> {
  let payloads = [payload]
  for (const codec of codecs.toReversed()) payloads = await codec.decode(payloads)
  return parseJson<T>(Buffer.from(payloads[0]?.data ?? []).toString())
}
