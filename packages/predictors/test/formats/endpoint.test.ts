/** Tests the file of an endpoint, and for every protocol and kind of answer what is sent and which answers are used. */
import { describe, expect, it } from 'vitest'
import { readEndpoint, type ProtocolName } from '../../src/formats/endpoint/endpoint-file.ts'
import { outputWidth, type FeatureFit, type Output } from '../../src/features.ts'
import {
  createRuntimes,
  fileNameOf,
  formatOf,
  isPredictorError,
  open,
  type OpenedArtifact,
} from '../../src/index.ts'
import { ownHosts, type OutgoingQuestion } from '../../src/runtime/hosts.ts'

const outputs: Output[] = [
  { kind: 'probability', positive: 'blooms' },
  { kind: 'classes', classes: ['red', 'white', 'blue'] },
  { kind: 'number' },
  { kind: 'quantiles', levels: [0.1, 0.9] },
  { kind: 'numbers', names: ['width', 'height'] },
]
const common = {
  address: 'https://models.example.org/served/',
  columns: ['size', { name: 'colour', as: 'COLOUR', text: true }],
}
/** For each protocol, a file with this many outputs, and the answer that says these numbers. */
const protocols: Record<
  ProtocolName,
  { file: (width: number) => object; answer: (rows: number[][]) => unknown }
> = {
  'open-inference': {
    file: (width) => ({
      endpoint: 'open-inference',
      ...common,
      model: 'roses',
      revision: 'v3',
      outputs: Array.from({ length: width }, (_, at) => ({ from: 'scores', at })),
    }),
    answer: (rows) => ({
      model_version: 'v3',
      outputs: [
        { name: 'label', shape: [rows.length], datatype: 'BYTES', data: rows.map(() => 'x') },
        { name: 'scores', shape: [rows.length, rows[0]!.length], datatype: 'FP64', data: rows.flat() },
      ],
    }),
  },
  json: {
    file: (width) => ({
      endpoint: 'json',
      ...common,
      outputs: Array.from({ length: width }, (_, at) => `result.*.score.${at}`),
    }),
    answer: (rows) => ({ result: rows.map((score) => ({ score })) }),
  },
  mlflow: {
    file: (width) => ({
      endpoint: 'mlflow',
      ...common,
      outputs: Array.from({ length: width }, (_, at) => `predictions.*.${at}`),
    }),
    answer: (rows) => ({ predictions: rows }),
  },
  sagemaker: {
    file: (width) => ({
      endpoint: 'sagemaker',
      ...common,
      model: 'roses',
      revision: 'blue',
      region: 'eu-west-1',
      rows: 'instances',
      secret: 'aws',
      outputs: Array.from({ length: width }, (_, at) => `predictions.*.${at}`),
    }),
    answer: (rows) => ({ predictions: rows }),
  },
}
const names = Object.keys(protocols) as ProtocolName[]

const preprocessing: FeatureFit[] = [
  { name: 'size', kind: 'number', mean: 0, std: 1, fill: null },
  { name: 'colour', kind: 'category', vocabulary: [], encoding: 'text' },
  // The endpoint is not asked with it.
  { name: 'age', kind: 'number', mean: 0, std: 1, fill: null },
]
const bytesOf = (file: object): Buffer => Buffer.from(JSON.stringify(file))
const text = (value: string | null): Buffer => {
  const bytes = Buffer.from(value ?? '')
  const length = Buffer.alloc(4)
  length.writeUInt32LE(value === null ? 0xffff_ffff : bytes.byteLength)
  return Buffer.concat([length, bytes])
}

/** Asks an endpoint that gives these answers, in turn, two rows of which the second one has no value. */
async function ask(file: object, output: Output, ...answers: ({ status?: number; body: string } | Error)[]) {
  const asked: OutgoingQuestion[] = []
  const runtimes = createRuntimes({
    onError: () => {},
    hosts: {
      ...ownHosts,
      ask(question) {
        asked.push(question)
        const answer = answers[asked.length - 1]!
        if (answer instanceof Error) throw answer
        return Promise.resolve({ status: answer.status ?? 200, body: Buffer.from(answer.body) })
      },
    },
  })
  const description = { artifact: 'endpoint', output, preprocessing } as const
  const { predictor } = await (formatOf(description).open(
    description,
    { 'endpoint.json': bytesOf(file) },
    { version: 'roses_v1.0.0', runtimes },
  ) as Promise<OpenedArtifact>)
  const given = new Float32Array(2 * predictor.outputs)
  const texts = Buffer.concat([text('red'), text(null)])
  const failure = await Promise.resolve(
    predictor.run(Float64Array.of(1.5, 7, NaN, 8), 2, given, undefined, { texts, textBytes: texts.length }),
  ).then(
    () => undefined,
    (error: unknown) => error,
  )
  return { given: [...given], failure, asked }
}

const cases = names.flatMap((protocol) => outputs.map((output) => ({ protocol, kind: output.kind, output })))

describe.each(cases)('$protocol for $kind', ({ protocol, output }) => {
  const width = outputWidth(output)
  const { file, answer } = protocols[protocol]
  const numbers = [0, 1].map((row) => Array.from({ length: width }, (_, at) => (row + at + 1) / 8))

  it('is read by the first bytes of its file, with its columns and outputs', async () => {
    const bytes = bytesOf(file(width))
    expect(fileNameOf(bytes)).toBe('endpoint.json')
    expect(await formatOf({ artifact: 'endpoint' }).inspect({ 'endpoint.json': bytes }, output)).toEqual({
      library: `${protocol} endpoint at models.example.org`,
      columns: [
        { name: 'size', isText: false },
        { name: 'colour', isText: true },
      ],
      outputs: width,
    })
  })

  it('sends the features that it takes, and uses the numbers of the answer', async () => {
    const { given, failure, asked } = await ask(file(width), output, {
      body: JSON.stringify(answer(numbers)),
    })
    expect(failure).toBeUndefined()
    expect(given).toEqual(numbers.flat())
    expect(asked).toHaveLength(1)
    const { body } = asked[0]!
    expect(body).toContain('COLOUR')
    expect(body).toContain('red')
    expect(body).toContain('null')
    expect(body).not.toMatch(/age|NaN|[78]/)
  })

  const spoiled: [what: string, answer: { status?: number; body: string } | Error, why: string][] = [
    ['too few answers', { body: JSON.stringify(answer(numbers.slice(1))) }, 'for 2 rows'],
    ['too many answers', { body: JSON.stringify(answer([...numbers, ...numbers])) }, 'for 2 rows'],
    [
      'a text',
      { body: JSON.stringify(answer(numbers)).replace('0.25', '"0.25"') },
      'is a text, not a number',
    ],
    ['null', { body: JSON.stringify(answer(numbers)).replace('0.25', 'null') }, 'is null, not a number'],
    ['NaN', { body: JSON.stringify(answer(numbers)).replace('0.25', 'NaN') }, 'is no JSON'],
    ['a list', { body: '[]' }, 'cannot be used'],
    ['null alone', { body: 'null' }, 'cannot be used'],
    ['a page', { body: '<html>' }, 'is no JSON'],
    ['nothing', { body: '' }, 'is no JSON'],
    ['another address', { status: 302, body: '' }, 'answers 302 and names another address'],
    ['an overload', { status: 429, body: '' }, 'answers 429'],
    ['a failure', { status: 500, body: '' }, 'answers 500'],
    ['no answer', new Error('not complete within 1000 ms'), 'gives no answer: not complete within 1000 ms'],
  ]
  it.each(spoiled)('fails with %s', async (_what, spoilt, why) => {
    const { failure, asked } = await ask(file(width), output, spoilt)
    expect((failure as Error).message).toMatch(/^the endpoint at models\.example\.org /)
    expect((failure as Error).message).toContain(why)
    expect(isPredictorError(failure, 'model_unavailable')).toBe(true)
    expect(asked).toHaveLength(1)
  })
})

/** Opens a version of one number, whose answers come in this order. */
function openedSize(...statuses: { status?: number; body: string }[]) {
  const asked: unknown[] = []
  const runtimes = createRuntimes({
    onError: () => {},
    hosts: {
      ...ownHosts,
      ask({ body }) {
        asked.push((JSON.parse(body) as { dataframe_split: { data: unknown } }).dataframe_split.data)
        const { status = 200, body: text } = statuses[asked.length - 1]!
        return Promise.resolve({ status, body: Buffer.from(text) })
      },
    },
  })
  const endpoint = readEndpoint(bytesOf({ ...protocols.mlflow.file(1), columns: ['size'] }))
  return { asked, predictor: runtimes.endpoints.open('roses_v1.0.0', endpoint, { inputs: 1 }) }
}
const one = { body: JSON.stringify({ predictions: [[1]] }) }

it('sends no infinite number as a missing one, and fails that row alone', async () => {
  const { asked, predictor } = openedSize(one)
  const done = await Promise.allSettled(
    [Infinity, 2].map((size) =>
      Promise.resolve(predictor.run(Float64Array.of(size), 1, new Float32Array(1))),
    ),
  )
  expect(done).toMatchObject([
    { reason: { code: 'wrong_type', message: 'JSON cannot send an infinite number' } },
    { status: 'fulfilled' },
  ])
  expect(asked).toEqual([[[2]]])
})

it('asks no row again that nobody awaits any more', async () => {
  const orders = [1, 2].map(() => ({ background: false, cancelled: false, begunMs: 0 }))
  const failure = {
    status: 500,
    get body() {
      orders[0]!.cancelled = true
      return ''
    },
  }
  const { asked, predictor } = openedSize(failure, one)
  const running = orders.map((order, at) =>
    Promise.resolve(predictor.run(Float64Array.of(at), 1, new Float32Array(1), order)),
  )
  expect(await Promise.allSettled(running)).toMatchObject([{ status: 'rejected' }, { status: 'fulfilled' }])
  expect(asked).toEqual([[[0], [1]], [[1]]])
})

it('takes no answer of more than 32 MiB, however many rows are asked', async () => {
  const limits: number[] = []
  const runtimes = createRuntimes({
    onError: () => {},
    hosts: {
      ...ownHosts,
      ask({ body, maxBytes }) {
        limits.push(maxBytes)
        const { instances } = JSON.parse(body) as { instances: unknown[] }
        const answer = protocols.json.answer(instances.map(() => Array.from({ length: 1_000 }, () => 1)))
        return Promise.resolve({ status: 200, body: Buffer.from(JSON.stringify(answer)) })
      },
    },
  })
  const file = { ...protocols.json.file(1_000), columns: ['size'] }
  const predictor = runtimes.endpoints.open('roses_v1.0.0', readEndpoint(bytesOf(file)), { inputs: 1 })
  for (const rows of [1, 64])
    await predictor.run(new Float64Array(rows), rows, new Float32Array(rows * 1_000))
  expect(limits).toEqual([65_536 + 1_024 * 1_000, 33_554_432])
})

describe('the Open Inference Protocol', () => {
  const { file, answer } = protocols['open-inference']
  const [number] = [{ kind: 'number' } as const]

  it('sends a tensor for each column, or one for all', async () => {
    const body = JSON.stringify(answer([[1], [2]]))
    const { asked } = await ask({ ...file(1), pandas: true }, number, { body })
    expect(asked[0]).toMatchObject({
      address: 'https://models.example.org/served/v2/models/roses/versions/v3/infer',
      maxMs: 1_000,
    })
    expect(JSON.parse(asked[0]!.body)).toEqual({
      inputs: [
        { name: 'size', shape: [2, 1], datatype: 'FP64', data: [1.5, null] },
        {
          name: 'COLOUR',
          shape: [2, 1],
          datatype: 'BYTES',
          parameters: { content_type: 'str' },
          data: ['red', null],
        },
      ],
      outputs: [{ name: 'scores' }],
      parameters: { content_type: 'pd' },
    })
    const endpoint = readEndpoint(
      bytesOf({ ...file(1), columns: ['size', 'age'], tensor: { name: 'x', datatype: 'FP32' } }),
    )
    const { protocolOf } = await import('../../src/formats/endpoint/protocols.ts')
    expect(
      protocolOf(endpoint).encode(
        endpoint,
        [
          [1, 2],
          [3, 4],
        ],
        2,
      ).body,
    ).toMatchObject({
      inputs: [{ name: 'x', shape: [2, 2], datatype: 'FP32', data: [1, 3, 2, 4] }],
    })
  })

  it('uses no answer of another revision, and one that names none', async () => {
    const said = answer([[1], [2]]) as object
    const ofOther = { body: JSON.stringify({ ...said, model_version: 'v4' }) }
    expect((await ask(file(1), number, ofOther)).failure).toMatchObject({
      message: expect.stringContaining('it is of another revision than "v3"') as string,
    })
    const ofNone = { body: JSON.stringify({ ...said, model_version: null }) }
    expect((await ask(file(1), number, ofNone)).failure).toBeUndefined()
  })
})

it('signs a request to SageMaker, and names the variant', async () => {
  const { file, answer } = protocols.sagemaker
  const { asked } = await ask(file(1), { kind: 'number' }, { body: JSON.stringify(answer([[1], [2]])) })
  expect(asked[0]).toMatchObject({
    address: 'https://models.example.org/served/endpoints/roses/invocations',
    headers: { 'x-amzn-sagemaker-target-variant': 'blue' },
    secret: 'aws',
    signedFor: { service: 'sagemaker', region: 'eu-west-1' },
  })
})

it('asks the rows of each request again where a batch of several is refused', async () => {
  const refused = { status: 422, body: '' }
  const { asked, predictor } = openedSize(refused, one, refused)
  const outputsOf = [new Float32Array(1), new Float32Array(1)]
  const done = await Promise.allSettled(
    outputsOf.map((output, at) => Promise.resolve(predictor.run(Float64Array.of(at), 1, output))),
  )
  expect(asked).toEqual([[[0], [1]], [[0]], [[1]]])
  expect(outputsOf[0]).toEqual(Float32Array.of(1))
  expect(done[1]).toMatchObject({
    reason: { message: 'the endpoint at models.example.org answers 422' },
  })
  predictor.close?.()
})

describe('a file is refused', () => {
  const json = protocols.json.file(1) as Record<string, unknown>
  const oip = protocols['open-inference'].file(1) as Record<string, unknown>
  const files: [what: string, file: object | string, why: string][] = [
    ['that is no JSON', '{"endpoint": json}', 'endpoint.json is not valid JSON'],
    ['with a field twice', '{"endpoint": "json", "endpoint": "json"}', 'has "endpoint" twice in one object'],
    [
      'of an unknown protocol',
      { endpoint: 'grpc' },
      'must be one of open-inference, json, mlflow, sagemaker',
    ],
    ['with an unknown field', { ...json, adress: 'x' }, 'Unrecognized key: "adress"'],
    [
      'of another protocol',
      { ...json, tensor: { name: 'x', datatype: 'FP32' } },
      'Unrecognized key: "tensor"',
    ],
    [
      'without an address',
      { ...json, address: undefined },
      '"address": must be an http:// or https:// address',
    ],
    ['with another scheme', { ...json, address: 'file:///etc/passwd' }, '"address": must be an http://'],
    ['with a password', { ...json, address: 'https://a:b@example.org' }, 'name what is secret as "secret"'],
    ['with a key in a query', { ...json, address: 'https://example.org/?key=1' }, 'name what is secret'],
    ['with a path as its secret', { ...json, secret: '../tls/key' }, '"secret": must be a name'],
    ['with a path as its model', { ...oip, model: '../admin' }, '"model": must be a name'],
    ['without columns', { ...json, columns: [] }, '"columns": '],
    ['with one name twice', { ...json, columns: ['a', { name: 'b', as: 'a' }] }, 'sends two columns as "a"'],
    ['without outputs', { ...json, outputs: [] }, '"outputs": '],
    [
      'with a place without its row',
      { ...json, outputs: ['score'] },
      '"outputs.0": must be a place with one *',
    ],
    ['that waits for an hour', { ...json, timeoutMs: 3_600_000 }, '"timeoutMs": '],
    ['with a negative price', { ...json, price: { per1000: -1, unit: 'EUR' } }, '"price.per1000": '],
    ['with texts in a tensor', { ...oip, tensor: { name: 'x', datatype: 'FP32' } }, '"colour" is a text'],
    [
      'with a tensor and a frame',
      { ...oip, columns: ['a'], pandas: true, tensor: { name: 'x', datatype: 'FP32' } },
      'has "tensor" and "pandas"',
    ],
  ]
  it.each(files)('%s', (_what, file, why) => {
    const bytes = Buffer.from(typeof file === 'string' ? file : JSON.stringify(file))
    expect(() => readEndpoint(bytes)).toThrow(why)
  })

  it('by a program that asks no endpoints', async () => {
    await expect(open(bytesOf(json))).rejects.toThrow('this program asks no endpoints')
  })

  it('by a reader that computes within the call', () => {
    const description = { artifact: 'endpoint', output: { kind: 'number' }, preprocessing: [] } as const
    expect(() => formatOf(description).open(description, { 'endpoint.json': bytesOf(json) })).toThrow(
      'answers no row at once',
    )
  })

  it('with other columns than the manifest', async () => {
    const [size, , age] = preprocessing
    const description = {
      artifact: 'endpoint',
      output: { kind: 'number' },
      preprocessing: [size!, age!],
    } as const
    const deps = { version: 'v', runtimes: undefined as never }
    expect(() => formatOf(description).open(description, { 'endpoint.json': bytesOf(json) }, deps)).toThrow(
      'other columns than the manifest, the first of them colour',
    )
  })
})
