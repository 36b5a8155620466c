/** Serves a request of the Open Inference Protocol, from its body and header to the bytes of the response. */
import { DomainError } from '../../domain/errors.ts'
import type { ByteWriter } from '../serving/codec/byte-writer.ts'
import type { Request } from '../serving/request/protocol.ts'
import type { Serving } from '../serving/replica-assembly.ts'
import { createInferProtocol } from './protocol.ts'

/** The header with the length of the JSON in a request or response with binary tensors. */
export const lengthHeader = 'inference-header-content-length'
/** The accepted content types. Clients send JSON with or without tensors as either type, or without a type. */
export const inferMedia = ['application/json', 'application/octet-stream']

/**
 * Serves a request. `header` is the value of the length header. A returned writer is valid until the next call; a promised writer stays
 * valid.
 */
export type Infer = (request: Request, header: string | undefined) => ByteWriter | Promise<ByteWriter>

export function createInfer({ predict, maxInstances }: Pick<Serving, 'predict' | 'maxInstances'>): Infer {
  const plain = createInferProtocol(maxInstances)
  return (request, header) => {
    if (header === undefined) return predict(plain, request)
    const jsonBytes = Number(header)
    if (!/^\d{1,9}$/.test(header) || jsonBytes > request.body.byteLength)
      throw new DomainError(
        'invalid_request',
        `Inference-Header-Content-Length is not a number of bytes from 0 to ${request.body.byteLength}`,
      )
    return predict(createInferProtocol(maxInstances, jsonBytes), request)
  }
}

/** Returns the headers of a response. */
export const headersOfWriter = ({ jsonBytes }: ByteWriter): Record<string, string> =>
  jsonBytes === undefined
    ? { 'content-type': 'application/json' }
    : { 'content-type': 'application/octet-stream', [lengthHeader]: String(jsonBytes) }
