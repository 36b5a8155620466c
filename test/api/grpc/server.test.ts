/** Tests the Open Inference Protocol over gRPC with a client of grpc-js. Three messages were recorded from Triton's Python client. */
import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js'
import { once } from 'node:events'
import { connect } from 'node:http2'
import { createServer, type AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import { pino } from 'pino'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openGrpc } from '../../../api/grpc/server.ts'
import { decodeInfer, peekModel } from '../../../api/grpc/infer-request.ts'
import {
  protoMessage,
  nextTag,
  protoNumber,
  openMessage,
  protoPacked,
  readBytes,
  readSigned,
  protoText,
} from '../../../api/grpc/wire.ts'
import { httpRequests } from '../../../api/metrics/http-requests.ts'
import { startServer, type RunningServer } from '../../../api/server.ts'
import { readConfig } from '../../../temporal.config.ts'
import { flightSpec, irisRow, irisSpec } from '../../support/serving/artifact.ts'
import { openServingFixture, until, type ServingFixture } from '../../support/serving/serving-fixture.ts'

const written = {
  /** Two rows of iris as raw FP32, the id "a1", the routing key "u" and the output "label". */
  raw: '0a04697269731a02613122120a0b726f7574696e675f6b657912031a01752a0d0a01781204465033321a02020432070a056c6162656c3a203333a340000060403333b33fcdcc4c3e0000c040000040409a9999406666e63f',
  /** The first row as contents, with the id "c". */
  contents: '0a04697269731a01632a210a01781204465033321a0201042a1232103333a340000060403333b33fcdcc4c3e',
  /** One tensor per feature (FP64, INT64 and BYTES), with a version. */
  flight:
    '0a06666c69676874120d666c696768745f76312e302e302a1f0a0864697374616e63651204465036341a01012a0a3a080000000000208c402a150a04686f75721205494e5436341a01012a031a01082a190a066f726967696e120542595445531a01012a0542035858582a1a0a03646179120542595445531a01012a094207776f726b646179',
}
const bytesOf = (hex: string): Buffer => Buffer.from(hex, 'hex')

let fixture: ServingFixture
let key: string
let server: RunningServer
let client: Client

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ role: 'predictor', models: ['iris', 'flight'] })
  await fixture.route('iris', { proven: await fixture.register(irisSpec()) })
  await fixture.route('flight', { proven: await fixture.register(flightSpec()) })
  await fixture.route('tulip', { proven: await fixture.register(irisSpec('tulip')) })
  server = await startServer(configOf({ TENURE_GRPC_PORT: '0' }), pino({ level: 'silent' }))
  await until(async () => (await fetch(`${server.url}/readyz`)).ok, 'a replica that is ready')
  client = new Client(`127.0.0.1:${server.grpcPort}`, credentials.createInsecure())
})
afterAll(async () => {
  client?.close()
  await server?.stop('the test ends')
  await fixture.close()
})

const configOf = (environment: Record<string, string>) =>
  readConfig({
    ...fixture.environment(),
    ...environment,
  })

const same = (bytes: Buffer): Buffer => bytes
const pathOf = (name: string): string => `/inference.GRPCInferenceService/${name}`
function metadataOf(more: Record<string, string> = {}): Metadata {
  const metadata = new Metadata()
  for (const [name, value] of Object.entries({ authorization: `Bearer ${key}`, ...more }))
    if (value !== '') metadata.set(name, value)
  return metadata
}

interface Answer {
  bytes: Buffer
  error: ServiceError | null
  trailer: Metadata
}

function call(
  name: string,
  request: Buffer,
  more: Record<string, string> = {},
  timeoutMs?: number,
): Promise<Answer> {
  return new Promise((resolve) => {
    let bytes = Buffer.alloc(0)
    let error: ServiceError | null = null
    const options = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs }
    const unary = client.makeUnaryRequest(
      pathOf(name),
      same,
      same,
      request,
      metadataOf(more),
      options,
      (failure, given) => {
        error = failure
        bytes = Buffer.from(given ?? [])
      },
    )
    unary.on('status', ({ metadata }) => setImmediate(() => resolve({ bytes, error, trailer: metadata })))
  })
}

/** Decodes the fields of a message: bytes or numbers. */
function fieldsIn(bytes: Buffer): Map<number, (Buffer | number)[]> {
  const message = openMessage(bytes)
  const found = new Map<number, (Buffer | number)[]>()
  for (let tag = nextTag(message); tag !== 0; tag = nextTag(message))
    found.set(tag >>> 3, [
      ...(found.get(tag >>> 3) ?? []),
      (tag & 7) === 2 ? readBytes(message) : readSigned(message),
    ])
  return found
}
const texts = (values: (Buffer | number)[] = []) => values.map(String)
const text = (bytes: Buffer, field: number) => texts(fieldsIn(bytes).get(field)).join()

function inferred(bytes: Buffer) {
  const fields = fieldsIn(bytes)
  const parameters = (fields.get(4) ?? []).map((entry) => {
    const [name, value] = [text(entry as Buffer, 1), fieldsIn(fieldsIn(entry as Buffer).get(2)![0] as Buffer)]
    return [name, value.get(3)?.map(String).join() ?? value.get(2)?.[0] ?? value.get(1)?.[0]]
  })
  const outputs = (fields.get(5) ?? []).map((output) => ({
    name: text(output as Buffer, 1),
    datatype: text(output as Buffer, 2),
    shape: [...(fieldsIn(output as Buffer).get(3)![0] as Buffer)],
  }))
  const raw = (fields.get(6) ?? []) as Buffer[]
  return {
    model: text(bytes, 1),
    version: text(bytes, 2),
    id: text(bytes, 3),
    parameters: Object.fromEntries(parameters) as Record<string, string | number>,
    outputs,
    raw,
  }
}

async function native(model: string, instances: object[]) {
  const answer = await fetch(`${server.url}/v1/models/${model}/predict`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ instances }),
  })
  const { predictions } = (await answer.json()) as {
    predictions: { label: string; probability: number; probabilities: Record<string, number> }[]
  }
  return predictions
}

describe('a prediction', () => {
  it('equals that of HTTP, with raw inputs and with contents, and names version, arm, generation and id', async () => {
    const rows = [irisRow, { sepalLength: 6, sepalWidth: 3, petalLength: 4.8, petalWidth: 1.8 }]
    const own = await native('iris', rows)
    const labelled = inferred((await call('ModelInfer', bytesOf(written.raw))).bytes)
    const labels = Buffer.concat(
      own.map(({ label }) => Buffer.concat([Buffer.from([label.length, 0, 0, 0]), Buffer.from(label)])),
    )
    expect(labelled).toMatchObject({
      model: 'iris',
      version: 'iris_v1.0.0',
      id: 'a1',
      parameters: { arm: 'champion', generation: 1 },
      outputs: [{ name: 'label', datatype: 'BYTES', shape: [2] }],
      raw: [labels],
    })
    expect(labelled.parameters['prediction_id']).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{8}0000$/)
    const one = inferred((await call('ModelInfer', bytesOf(written.contents))).bytes)
    expect(one.outputs.map(({ name, shape }) => [name, shape])).toEqual([
      ['probabilities', [1, 3]],
      ['label', [1]],
    ])
    const probabilities = new Float32Array(new Uint8Array(one.raw[0]!).buffer)
    expect([...probabilities]).toEqual(Object.values(own[0]!.probabilities).map(Math.fround))
  })

  it('reads a tensor for each feature, and names texts that training has not seen', async () => {
    const [own] = await native('flight', [{ distance: 900, hour: 8, origin: 'XXX', day: 'workday' }])
    const { bytes } = await call('ModelInfer', bytesOf(written.flight))
    const { version, raw, parameters } = inferred(bytes)
    expect(version).toBe('flight_v1.0.0')
    expect(raw[0]!.readFloatLE(0)).toBe(Math.fround(own!.probability))
    expect(parameters['unknown_categories']).toBe('{"origin":["XXX"]}')
  })

  it('is logged with its key and counted beside those of HTTP', async () => {
    const before = httpRequests.of('POST', pathOf('ModelInfer'), 200).requests
    const { bytes, trailer } = await call('ModelInfer', bytesOf(written.contents), { 'x-request-id': 'mine' })
    expect(trailer.get('x-request-id')).toEqual(['mine'])
    expect(httpRequests.of('POST', pathOf('ModelInfer'), 200).requests).toBe(before + 1)
    const id = inferred(bytes).parameters['prediction_id']
    await until(async () => {
      const rows = await fixture.store.query(sql`select from predictions where id = ${id}::uuid`)
      return rows.length === 1
    }, 'the row of the log')
  })

  it('of a stream keeps the order, and a bad message does not end the stream', async () => {
    const stream = client.makeBidiStreamRequest(pathOf('ModelStreamInfer'), same, same, metadataOf())
    const answers: Buffer[] = []
    stream.on('data', (bytes: Buffer) => answers.push(bytes))
    const ended = new Promise<void>((resolve, reject) => void stream.on('end', resolve).on('error', reject))
    for (let i = 0; i < 40; i++)
      stream.write(
        i % 4 === 3
          ? Buffer.concat([protoText(1, 'iris'), protoText(3, `id-${i}`)])
          : Buffer.concat([bytesOf(written.contents), protoText(3, `id-${i}`)]),
      )
    stream.end()
    await ended
    expect(answers).toHaveLength(40)
    answers.forEach((answer, i) => {
      const fields = fieldsIn(answer)
      if (i % 4 === 3) expect(texts(fields.get(1)).join()).toMatch(/^invalid_request: "inputs" is not a list/)
      else expect(inferred(fields.get(2)![0] as Buffer).id).toBe(`id-${i}`)
    })
  })
})

describe('a refusal', () => {
  const tensor = (name: string, datatype: string, shape: number[], ...rest: Buffer[]) =>
    protoMessage(5, protoText(1, name), protoText(2, datatype), protoPacked(3, shape), ...rest)
  const infer = (...parts: Buffer[]) => Buffer.concat([protoText(1, 'iris'), ...parts])
  const floats = (...values: number[]) => Buffer.from(new Uint8Array(Float32Array.from(values).buffer))
  const raw = (bytes: Buffer) => protoMessage(7, bytes)

  it.each([
    ['no inputs', infer(), /^invalid_request: "inputs" is not a list of tensors/],
    [
      'a message that is cut',
      bytesOf(written.raw).subarray(0, -3),
      /^invalid_request: the message is not valid: a field is longer/,
    ],
    ['a number that does not end', Buffer.alloc(20, 255), /^invalid_request: the message is not valid/],
    [
      'too few raw contents',
      infer(tensor('x', 'FP32', [1, 4]), tensor('y', 'FP32', [1]), raw(floats(1, 2, 3, 4))),
      /has 2 inputs and 1 raw_input_contents/,
    ],
    [
      'a shape of another size',
      infer(tensor('x', 'FP32', [2, 4]), raw(floats(1, 2, 3, 4))),
      /shape \[2, 4\] and 4 values/,
    ],
    [
      'a negative shape',
      infer(tensor('x', 'FP32', [-1, -4]), raw(floats(1, 2, 3, 4))),
      /no shape of at most 8 whole numbers/,
    ],
    [
      'an unknown datatype',
      infer(tensor('x', 'FP16', [1, 4]), raw(floats(1, 2))),
      /datatype "FP16", not one of/,
    ],
    [
      'contents of another datatype',
      infer(tensor('x', 'FP32', [1, 1], protoMessage(5, protoPacked(2, [1])))),
      /values in the field 2 of its contents/,
    ],
    [
      'a number that is not finite',
      infer(tensor('x', 'FP32', [1, 4]), raw(floats(1, 2, NaN, 4))),
      /^not_finite: .*petalLength/,
    ],
    [
      'an unknown category',
      Buffer.concat([
        protoText(1, 'flight'),
        ...['distance', 'hour'].map((name) => tensor(name, 'FP32', [1])),
        ...['origin', 'day'].map((name) => tensor(name, 'BYTES', [1])),
        ...[900, 8].map((value) => raw(floats(value))),
        ...['a', 'holiday'].map((value) => raw(Buffer.from([value.length, 0, 0, 0, ...Buffer.from(value)]))),
      ]),
      /^unknown_category: .*"day" is not one of its 2 values: "workday", "weekend"/,
    ],
    [
      'an unknown output',
      infer(tensor('x', 'FP32', [1, 4]), protoMessage(6, protoText(1, 'odds')), raw(floats(1, 2, 3, 4))),
      /there is no output "odds"/,
    ],
    [
      'too many rows',
      infer(tensor('x', 'FP32', [1_001, 4]), raw(floats(...Array.from({ length: 4_004 }, () => 1)))),
      /^batch_too_large/,
    ],
    ['no rows', infer(tensor('x', 'FP32', [0, 4]), raw(floats())), /^no_instances/],
  ])('of %s names the code and the place', async (_name, request, details) => {
    const { error, trailer } = await call('ModelInfer', request)
    expect(error?.code).toBe(status.INVALID_ARGUMENT)
    expect(error?.details).toMatch(details)
    expect(String(trailer.get('x-request-id'))).not.toBe('')
  })

  it('of a caller has the status of its reason', async () => {
    const request = bytesOf(written.contents)
    expect((await call('ModelInfer', request, { authorization: '' })).error).toMatchObject({
      code: status.UNAUTHENTICATED,
    })
    expect((await call('ModelInfer', request, { authorization: 'Bearer tnr_wrong' })).error).toMatchObject({
      code: status.UNAUTHENTICATED,
    })
    expect((await call('ModelInfer', protoText(1, 'tulip'))).error).toMatchObject({
      code: status.PERMISSION_DENIED,
    })
    const admin = await fixture.key()
    await until(async () => {
      const { error } = await call('ModelInfer', protoText(1, 'rose'), { authorization: `Bearer ${admin}` })
      return error?.code === status.NOT_FOUND
    }, 'the new key')
    const large = await call('ModelInfer', Buffer.concat([request, protoMessage(7, Buffer.alloc(4_200_000))]))
    expect(large.error?.code).toBe(status.RESOURCE_EXHAUSTED)
    const pinned = Buffer.concat([request, protoText(2, 'iris_v9.0.0')])
    expect((await call('ModelInfer', pinned)).error).toMatchObject({ code: status.NOT_FOUND })
  })
})

describe('metadata', () => {
  it('reports that the server and a model are live, and describes them', async () => {
    for (const name of ['ServerLive', 'ServerReady'])
      expect(fieldsIn((await call(name, Buffer.alloc(0), { authorization: '' })).bytes).get(1)).toEqual([1])
    const own = await call('ServerMetadata', Buffer.alloc(0), { authorization: '' })
    expect([text(own.bytes, 1), text(own.bytes, 2), text(own.bytes, 3)]).toEqual([
      'tenure',
      '2',
      'binary_tensor_data',
    ])
    expect(fieldsIn((await call('ModelReady', protoText(1, 'iris'))).bytes).get(1)).toEqual([1])
    const { bytes } = await call(
      'ModelMetadata',
      Buffer.concat([protoText(1, 'iris'), protoText(2, 'iris_v1.0.0')]),
    )
    expect([text(bytes, 1), text(bytes, 2), text(bytes, 3)]).toEqual([
      'iris',
      'iris_v1.0.0',
      'tenure-artifact@1',
    ])
    const fields = fieldsIn(bytes)
    expect(fields.get(4)!.map((input) => text(input as Buffer, 1))).toEqual(Object.keys(irisRow))
    expect(fields.get(5)!.map((output) => text(output as Buffer, 1))).toEqual(['probabilities', 'label'])
    const index = fieldsIn((await call('RepositoryIndex', protoNumber(2, 1))).bytes).get(1)!
    expect(index.map((entry) => [text(entry as Buffer, 1), text(entry as Buffer, 3)])).toEqual([
      ['flight', 'READY'],
      ['iris', 'READY'],
    ])
  })

  it('of a model needs a key of the model, and an unknown call is not implemented', async () => {
    expect((await call('ModelReady', protoText(1, 'iris'), { authorization: '' })).error?.code).toBe(
      status.UNAUTHENTICATED,
    )
    expect((await call('ModelMetadata', protoText(1, 'tulip'))).error?.code).toBe(status.PERMISSION_DENIED)
    expect((await call('RepositoryModelLoad', Buffer.alloc(0))).error?.code).toBe(status.UNIMPLEMENTED)
  })
})

describe('the server', () => {
  it.each(['ModelReady', 'ModelMetadata', 'ModelInfer'])(
    '%s refuses a name of a model above its length',
    async (name) => {
      for (const field of [1, 2]) {
        const { error } = await call(name, protoText(field, 'a'.repeat(101)))
        expect(error?.code).toBe(status.INVALID_ARGUMENT)
        expect(error?.details).toMatch(
          /^invalid_request: "model_(name|version)" is not a text of at most 100 characters/,
        )
      }
    },
  )

  it('is off without the setting, and a port in use stops the start with its name', async () => {
    const off = await startServer(configOf({}), pino({ level: 'silent' }))
    expect(off.grpcPort).toBeUndefined()
    await off.stop('the test ends')
    const options = { host: '127.0.0.1', port: server.grpcPort!, predict: undefined as never }
    await expect(openGrpc({ serving: { maxInstances: 1 } } as never, options)).rejects.toThrow(
      /TENURE_GRPC_PORT: 127\.0\.0\.1:\d+ cannot be used/,
    )
  })

  it('waits under a supervisor for a port that the replica of a killed one holds', async () => {
    const holder = createServer().listen(0, '127.0.0.1')
    await once(holder, 'listening')
    const TENURE_GRPC_PORT = String((holder.address() as AddressInfo).port)
    const supervised = configOf({ TENURE_GRPC_PORT, TENURE_SUPERVISOR: '/dev/null' })
    const successor = await startServer(supervised, pino({ level: 'silent' }))
    expect((await fetch(`${successor.url}/livez`)).status).toBe(200)
    holder.close()
    const caller = new Client(`127.0.0.1:${successor.grpcPort}`, credentials.createInsecure())
    await promisify(caller.waitForReady.bind(caller))(Date.now() + 10_000)
    caller.close()
    await successor.stop('the test ends')
  })

  // Earlier versions do not emit streams and keep the default window of HTTP/2.
  it.skipIf(Number.parseInt(process.versions.node, 10) < 24)(
    'lets a connection send more than HTTP/2 begins with before it is read',
    async () => {
      const session = connect(`http://127.0.0.1:${server.grpcPort}`)
      const headers = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' }
      const stream = session.request({ ...headers, ':path': pathOf('ServerLive') })
      stream.end(Buffer.alloc(5)).resume()
      await once(stream, 'close')
      expect(session.state.remoteWindowSize).toBeGreaterThan(1_000_000)
      session.close()
    },
  )

  it('answers open calls before it stops', async () => {
    const other = await startServer(configOf({ TENURE_GRPC_PORT: '0' }), pino({ level: 'silent' }))
    await until(async () => (await fetch(`${other.url}/readyz`)).ok, 'a replica that is ready')
    const caller = new Client(`127.0.0.1:${other.grpcPort}`, credentials.createInsecure())
    const calls = Array.from(
      { length: 50 },
      () =>
        new Promise<ServiceError | null>((resolve) => {
          caller.makeUnaryRequest(
            pathOf('ModelInfer'),
            same,
            same,
            bytesOf(written.contents),
            metadataOf(),
            (error) => resolve(error),
          )
        }),
    )
    await calls[0]
    await other.stop('the test ends')
    // On a busy machine the queue refuses some calls; none loses its connection.
    const lost = (await Promise.all(calls)).filter(
      (error) => error !== null && !error.details.startsWith('overloaded: '),
    )
    expect(lost).toEqual([])
    caller.close()
  })
})

it('the decoder accepts messages of Triton’s client', () => {
  expect(peekModel(bytesOf(written.raw))).toEqual({ model: 'iris', version: undefined })
  expect(decodeInfer(bytesOf(written.raw), 4)).toMatchObject({
    id: 'a1',
    texts: { routing_key: 'u' },
    wanted: ['label'],
    inputs: [{ name: 'x', datatype: 'FP32', shape: [2, 4] }],
  })
  const referenced = protoMessage(4, protoText(1, 'reference'), protoMessage(2, protoText(3, 'A-7 ä')))
  expect(decodeInfer(Buffer.concat([bytesOf(written.raw), referenced]), 4).texts).toEqual({
    routing_key: 'u',
    reference: 'A-7 ä',
  })
})
