/** One request of the Open Inference Protocol, from its body and header to the bytes of its answer. */
import { DomainError } from '../../domain/errors.ts'
import type { ByteWriter } from '../serving/codec/byte-writer.ts'
import type { Request } from '../serving/request/protocol.ts'
import type { Serving } from '../serving/replica-assembly.ts'
import { createInferProtocol } from './protocol.ts'

/** In requests and answers: how many bytes are JSON, where binary tensors follow them. */
export const lengthHeader = 'inference-header-content-length'
/** Clients send tensors behind JSON, or JSON alone, as a stream of bytes, or say nothing. */
export const inferMedia = ['application/json', 'application/octet-stream']

/** `header` is what was sent as the length header. What is answered stands until the next call, what is promised for good. */
export type Infer = (request: Request, header: string | undefined) => ByteWriter | Promise<ByteWriter>

export function createInfer({ answer, maxInstances }: Pick<Serving, 'answer' | 'maxInstances'>): Infer {
  const plain = createInferProtocol(maxInstances)
  return (request, header) => {
    if (header === undefined) return answer(plain, request)
    const jsonBytes = Number(header)
    if (!/^\d{1,9}$/.test(header) || jsonBytes > request.body.byteLength)
      throw new DomainError(
        'invalid_request',
        `Inference-Header-Content-Length is no number of bytes from 0 to ${request.body.byteLength}`,
      )
    return answer(createInferProtocol(maxInstances, jsonBytes), request)
  }
}

/** Uses an answer at once, before the next one is written over it, or when it is there. */
export function withWriter<T>(
  given: ByteWriter | Promise<ByteWriter>,
  use: (writer: ByteWriter) => T,
): T | Promise<T> {
  return given instanceof Promise ? given.then(use) : use(given)
}

/** The headers of an answer. */
export const headersOfWriter = ({ jsonBytes }: ByteWriter): Record<string, string> =>
  jsonBytes === undefined
    ? { 'content-type': 'application/json' }
    : { 'content-type': 'application/octet-stream', [lengthHeader]: String(jsonBytes) }
