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
interface Tested {
  /** A file with this many outputs. */
  file: (width: number) => Record<string, unknown>
  /** The answers that say these numbers, one for each request. */
  answers: (rows: readonly (readonly unknown[])[]) => unknown[]
  /** The texts of two rows. */
  texts?: (string | null)[]
  /** What a request holds. */
  sends?: RegExp
  /** The bytes of an answer, where it is not JSON. */
  bytesOf?: (answer: unknown) => Buffer
  /** What its answers cannot have, and what is said in place of what others say. */
  without?: string[]
  says?: Record<string, string>
}
const named = /(?=.*COLOUR)(?=.*red)(?=.*null)/s
const protocols = {
  'open-inference': {
    file: (width) => ({
      endpoint: 'open-inference',
      ...common,
      model: 'roses',
      revision: 'v3',
      outputs: Array.from({ length: width }, (_, at) => ({ from: 'scores', at })),
    }),
    answers: (rows) => [
      {
        model_version: 'v3',
        outputs: [
          { name: 'label', shape: [rows.length], datatype: 'BYTES', data: rows.map(() => 'x') },
          { name: 'scores', shape: [rows.length, rows[0]!.length], datatype: 'FP64', data: rows.flat() },
        ],
      },
    ],
  },
  grpc: {
    file: (width) => ({
      endpoint: 'open-inference',
      ...common,
      address: 'grpc://models.example.org:9000',
      model: 'roses',
      outputs: Array.from({ length: width }, (_, at) => ({ from: 'scores', at })),
    }),
    answers: (rows) => [rows],
    bytesOf: (rows) => inferAnswer(rows as unknown[][]),
    texts: ['red', 'blue'],
    sends: /roses.*size.*COLOUR.*red.*blue/s,
    without: ['null'],
    says: {
      NaN: 'is NaN, not a number',
      ...Object.fromEntries(
        ['a list', 'null alone', 'the answer of another protocol', 'a page', 'nothing'].map((what) => [
          what,
          'it is not one message of gRPC',
        ]),
      ),
    },
  },
  json: {
    file: (width) => ({
      endpoint: 'json',
      ...common,
      outputs: Array.from({ length: width }, (_, at) => `result.*.score.${at}`),
    }),
    answers: (rows) => [{ result: rows.map((score) => ({ score })) }],
  },
  mlflow: {
    file: (width) => ({
      endpoint: 'mlflow',
      ...common,
      outputs: Array.from({ length: width }, (_, at) => `predictions.*.${at}`),
    }),
    answers: (rows) => [{ predictions: rows }],
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
    answers: (rows) => [{ predictions: rows }],
  },
  completion: {
    file: (width) => ({
      endpoint: 'openai',
      kind: 'completion',
      ...common,
      model: 'small-2',
      prompt: 'A {{COLOUR}} rose of {{size}} cm: answer JSON.',
      json: Array.from({ length: width }, (_, at) => `score.${at}`),
    }),
    answers: (rows) => rows.map((score) => completion(JSON.stringify({ score }))),
    sends: /A (red rose of 1\.5| rose of ) cm/,
    // It answers one row.
    without: ['too few rows', 'too many rows'],
    says: { NaN: 'its text is no JSON' },
  },
  embedding: {
    file: (width) => ({
      endpoint: 'openai',
      kind: 'embedding',
      ...common,
      columns: [{ name: 'colour', text: true }],
      model: 'small-2',
      dimensions: width,
    }),
    answers: (rows) => [
      {
        data: rows.map((embedding, index) => ({ index, embedding })).toReversed(),
        usage: { prompt_tokens: 4 },
      },
    ],
    texts: ['red', 'blue'],
    sends: /"input":\["red","blue"\]/,
  },
} satisfies Record<Exclude<ProtocolName, 'openai'> | 'grpc' | 'completion' | 'embedding', Tested>
const names = Object.keys(protocols) as (keyof typeof protocols)[]

function completion(content: string | null, more: object = {}): object {
  return { choices: [{ message: { role: 'assistant', content }, finish_reason: 'stop', ...more }] }
}

/** A frame with a `ModelInferResponse` of FP64 numbers, or of texts where one is a text. */
function inferAnswer(
  rows: readonly (readonly unknown[])[],
  {
    raw,
    version = 'v3',
    type = 'FP64',
    id,
  }: { raw?: Buffer | true; version?: string; type?: string; id?: string } = {},
): Buffer {
  const part = (field: number, ...values: (Buffer | string)[]): Buffer => {
    const bytes = Buffer.concat(values.map((value) => Buffer.from(value)))
    const head = [field * 8 + 2, (bytes.length & 127) | (bytes.length > 127 ? 128 : 0), bytes.length >> 7]
    return Buffer.concat([Buffer.from(bytes.length > 127 ? head : head.slice(0, 2)), bytes])
  }
  const values = rows.flat()
  const isText = values.some((value) => typeof value === 'string')
  const numbers = Buffer.from(Float64Array.from(values, Number).buffer)
  const contents = isText ? values.map((value) => part(8, String(value))) : [part(7, numbers)]
  const shape = Buffer.from([rows.length, rows[0]?.length ?? 0])
  const scores = [part(1, 'scores'), part(2, isText ? 'BYTES' : type), part(3, shape)]
  const body = Buffer.concat([
    part(1, 'roses'),
    part(2, version),
    ...(id === undefined ? [] : [part(3, id)]),
    part(5, ...scores, ...(raw === undefined ? [part(5, ...contents)] : [])),
    ...(raw === undefined ? [] : [part(6, raw === true ? numbers : raw)]),
  ])
  const frame = Buffer.alloc(5)
  frame.writeUInt32BE(body.length, 1)
  return Buffer.concat([frame, body])
}

const fits: FeatureFit[] = [
  { name: 'size', kind: 'number', mean: 0, std: 1, fill: null },
  { name: 'colour', kind: 'category', vocabulary: [], encoding: 'text' },
  // The endpoint is not asked with it.
  { name: 'age', kind: 'number', mean: 0, std: 1, fill: null },
]
/** The columns of the file come first. */
function preprocessingOf(file: object): FeatureFit[] {
  const columns = (file as { columns: (string | { name: string })[] }).columns.map((each) =>
    typeof each === 'string' ? each : each.name,
  )
  const placeOf = ({ name }: FeatureFit) => (columns.includes(name) ? columns.indexOf(name) : columns.length)
  return fits.toSorted((a, b) => placeOf(a) - placeOf(b))
}
const bytesOf = (file: object): Buffer => Buffer.from(JSON.stringify(file))
const text = (value: string | null): Buffer => {
  const bytes = Buffer.from(value ?? '')
  const length = Buffer.alloc(4)
  length.writeUInt32LE(value === null ? 0xffff_ffff : bytes.byteLength)
  return Buffer.concat([length, bytes])
}

interface Reply {
  status?: number
  body: string | Buffer
  headers?: Record<string, string>
}

/** Asks an endpoint that gives these answers, in turn, two rows of which the second one has no value. */
async function ask(
  file: object,
  output: Output,
  answers: readonly (Reply | Error | ((question: OutgoingQuestion) => Reply))[],
  given: readonly (string | null)[] = ['red', null],
) {
  const asked: OutgoingQuestion[] = []
  const runtimes = createRuntimes({
    onError: () => {},
    hosts: {
      ...ownHosts,
      ask(question) {
        asked.push(question)
        const answer = answers[asked.length - 1] ?? answers.at(-1)!
        if (answer instanceof Error) throw answer
        const {
          status = 200,
          body,
          headers = { 'grpc-status': '0' },
        } = typeof answer === 'function' ? answer(question) : answer
        return Promise.resolve({ status, body: Buffer.from(body), headers })
      },
    },
  })
  const description = { artifact: 'endpoint', output, preprocessing: preprocessingOf(file) } as const
  const { predictor } = await (formatOf(description).open(
    description,
    { 'endpoint.json': bytesOf(file) },
    { version: 'roses_v1.0.0', runtimes },
  ) as Promise<OpenedArtifact>)
  const outputs = new Float32Array(2 * predictor.outputs)
  const texts = Buffer.concat(given.map(text))
  const failure = await Promise.resolve(
    predictor.run(Float64Array.of(1.5, 7, NaN, 8), 2, outputs, undefined, { texts, textBytes: texts.length }),
  ).then(
    () => undefined,
    (error: unknown) => error,
  )
  return { given: [...outputs], failure, asked, price: predictor.price?.() }
}

const cases = names.flatMap((protocol) => outputs.map((output) => ({ protocol, kind: output.kind, output })))
const bodies = (answers: readonly unknown[]) => answers.map((answer) => ({ body: JSON.stringify(answer) }))

describe.each(cases)('$protocol for $kind', ({ protocol, output }) => {
  const width = outputWidth(output)
  const { host } = new URL(String(protocols[protocol].file(width).address))
  const { file, answers, texts, sends = named, without, says, bytesOf: encode }: Tested = protocols[protocol]
  const numbers = [0, 1].map((row) => Array.from({ length: width }, (_, at) => (row + at + 1) / 8))
  const replies = (rows: readonly (readonly unknown[])[]) =>
    answers(rows).map((answer) => ({ body: encode?.(answer) ?? JSON.stringify(answer) }))
  /** The answers in which a value stands in place of the first number. */
  const withValue = (value: unknown) => replies([[value, ...numbers[0]!.slice(1)], numbers[1]!])

  it('is read by the first bytes of its file, with its columns and outputs', async () => {
    const bytes = bytesOf(file(width))
    expect(fileNameOf(bytes)).toBe('endpoint.json')
    expect(await formatOf({ artifact: 'endpoint' }).inspect({ 'endpoint.json': bytes }, output)).toEqual({
      library: `${String(file(width)['endpoint'])} endpoint at ${host}`,
      columns: preprocessingOf(file(width))
        .slice(0, (file(width)['columns'] as unknown[]).length)
        .map(({ name, kind }) => ({ name, isText: kind === 'category', vector: 0 })),
      outputs: width,
    })
  })

  it('sends the features that it takes, and uses the numbers of the answer', async () => {
    const { given, failure, asked } = await ask(file(width), output, replies(numbers), texts)
    expect(failure).toBeUndefined()
    expect(given).toEqual(numbers.flat())
    expect(asked).toHaveLength(answers(numbers).length)
    for (const body of asked.map((question) => String(Buffer.from(question.body)))) {
      expect(body).toMatch(sends)
      // The bytes of a message may be those of any letter.
      const said = body.replace(/"id":"[\da-f-]+"/, '')
      expect(said).not.toMatch(encode === undefined ? /age"|NaN|[78]/ : /age/)
    }
  })

  /** JSON has no limit of its numbers. */
  const infinite = ({ body }: Reply): Reply => ({ body: String(body).replace(/\\?"@\\?"/, '1e999') })
  /** What another request may not meet. */
  const passing = new Set(['an overload', 'a failure', 'no answer'])
  const spoiled: [what: string, answers: (Reply | Error)[], why: string][] = [
    ['too few rows', replies(numbers.slice(1)), 'for 2 rows'],
    ['too many rows', replies([...numbers, ...numbers]), 'for 2 rows'],
    ['a number missing', replies(numbers.map((row) => row.slice(1))), ''],
    ['a text', withValue('0.25'), 'is a text, not a number'],
    ['null', withValue(null), 'is null, not a number'],
    [
      'NaN',
      encode === undefined
        ? withValue('@').map(({ body }) => ({ body: String(body).replace(/\\?"@\\?"/, 'NaN') }))
        : withValue(NaN),
      'is no JSON',
    ],
    [
      'a number that 32 bits do not hold',
      withValue(1e39),
      'is 1e+39, which 32 bits do not hold, not a number',
    ],
    ['a number that no double holds', withValue('@').map(infinite), ''],
    ['a status for a part of it', replies(numbers).map((each) => ({ ...each, status: 206 })), 'answers 206'],
    ['a status for later', replies(numbers).map((each) => ({ ...each, status: 202 })), 'answers 202'],
    ['a list', [{ body: '[]' }], 'cannot be used'],
    ['null alone', [{ body: 'null' }], 'cannot be used'],
    ['the answer of another protocol', bodies([{ results: [], id: 'x' }]), 'cannot be used'],
    ['a page', [{ body: '<html>' }], 'is no JSON'],
    ['nothing', [{ body: '' }], 'is no JSON'],
    ['another address', [{ status: 302, body: '' }], 'answers 302 and names another address'],
    ['an overload', [{ status: 429, body: '' }], 'answers 429'],
    ['a failure', [{ status: 500, body: '' }], 'answers 500'],
    ['no answer', [new Error('not complete within 1000 ms')], 'gives no answer: not complete within 1000 ms'],
    [
      'an address that is not asked',
      [Object.assign(new Error('10.0.0.1 is a private address'), { lasting: true })],
      'gives no answer: 10.0.0.1 is a private address',
    ],
  ]
  it.each(spoiled.filter(([what]) => without?.includes(what) !== true))(
    'fails with %s',
    async (what, spoilt, why) => {
      const { failure } = await ask(file(width), output, spoilt, texts)
      expect((failure as Error).message.startsWith(`the endpoint at ${host} `)).toBe(true)
      expect((failure as Error).message).toContain(says?.[what] ?? why)
      expect(isPredictorError(failure, passing.has(what) ? 'model_unavailable' : 'endpoint_unusable')).toBe(
        true,
      )
    },
  )
})

describe.each(names.filter((name) => name !== 'embedding'))('%s with a vector', (protocol) => {
  const tested: Tested = protocols[protocol]
  const file = {
    ...tested.file(1),
    columns: ['size', { name: 'colour', as: 'COLOUR', vector: 2 }],
  }
  const answers = tested.answers([[1], [2]]).map((answer) => ({
    body: tested.bytesOf?.(answer) ?? JSON.stringify(answer),
  }))
  const [vector, row] = ['[0.25,-1]', ['[0.25,-1]', null]]
  const tensor = (datatype: string) => ({
    name: 'COLOUR',
    shape: [2, 2],
    datatype,
    data: [0.25, -1, null, null],
  })
  const sent = {
    'open-inference': { inputs: [{ name: 'size', shape: [2, 1] }, tensor('FP64')] },
    grpc: undefined,
    json: {
      instances: [
        { size: 1.5, COLOUR: [0.25, -1] },
        { size: null, COLOUR: null },
      ],
    },
    mlflow: {
      dataframe_split: {
        data: [
          [1.5, [0.25, -1]],
          [null, null],
        ],
      },
    },
    sagemaker: { instances: [{ COLOUR: [0.25, -1] }, { COLOUR: null }] },
    completion: { messages: [{ content: `A ${vector} rose of 1.5 cm: answer JSON.` }] },
  }

  it('sends its numbers, and says how many it takes', async () => {
    const { asked, failure } = await ask(file, { kind: 'number' }, answers, row)
    expect(failure).toBeUndefined()
    const { body } = asked[0]!
    if (protocol === 'grpc')
      for (const numbers of [Float64Array.of(0.25, -1, NaN, NaN), Float64Array.of(1.5, NaN)])
        expect(Buffer.from(body).includes(Buffer.from(numbers.buffer))).toBe(true)
    else expect(JSON.parse(String(body))).toMatchObject(sent[protocol]!)
    const files = { 'endpoint.json': bytesOf(file) }
    expect((await formatOf({ artifact: 'endpoint' }).inspect(files, { kind: 'number' })).columns).toEqual([
      { name: 'size', isText: false, vector: 0 },
      { name: 'colour', isText: true, vector: 2 },
    ])
  })

  if (protocol === 'open-inference' || protocol === 'grpc')
    it('sends tensors of the type that the file names, or one for all numbers', async () => {
      const typed = { ...file, datatype: 'FP32' }
      const matrix = { ...file, tensor: { name: 'x', datatype: 'FP32' } }
      const bodies = []
      for (const each of [typed, matrix])
        bodies.push((await ask(each, { kind: 'number' }, answers, row)).asked[0]!.body)
      if (protocol === 'open-inference') {
        expect(bodies.map((body) => JSON.parse(String(body)) as unknown)).toMatchObject([
          { inputs: [{ name: 'size', datatype: 'FP32' }, tensor('FP32')] },
          {
            inputs: [{ name: 'x', shape: [2, 3], datatype: 'FP32', data: [1.5, 0.25, -1, null, null, null] }],
          },
        ])
        return
      }
      const [each, all] = bodies.map((body) => Buffer.from(body))
      expect(each!.includes(Buffer.from(Float32Array.of(0.25, -1, NaN, NaN).buffer))).toBe(true)
      expect(all!.includes(Buffer.from(Float32Array.of(1.5, 0.25, -1, NaN, NaN, NaN).buffer))).toBe(true)
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
        asked.push((JSON.parse(String(body)) as { dataframe_split: { data: unknown } }).dataframe_split.data)
        const { status = 200, body: text } = statuses[asked.length - 1]!
        return Promise.resolve({ status, body: Buffer.from(text) })
      },
    },
  })
  const endpoint = readEndpoint(bytesOf({ ...protocols.mlflow.file(1), columns: ['size'] }))
  return {
    asked,
    predictor: runtimes.endpoints.open('roses_v1.0.0', endpoint, { inputs: 1, output: { kind: 'number' } }),
  }
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
        const { instances } = JSON.parse(String(body)) as { instances: unknown[] }
        const answer = protocols.json.answers(instances.map(() => Array.from({ length: 1_000 }, () => 1)))[0]
        return Promise.resolve({ status: 200, body: Buffer.from(JSON.stringify(answer)) })
      },
    },
  })
  const file = { ...protocols.json.file(1_000), columns: ['size'] }
  const predictor = runtimes.endpoints.open('roses_v1.0.0', readEndpoint(bytesOf(file)), {
    inputs: 1,
    output: { kind: 'number' },
  })
  for (const rows of [1, 64])
    await predictor.run(new Float64Array(rows), rows, new Float32Array(rows * 1_000))
  expect(limits).toEqual([65_536 + 1_024 * 1_000, 33_554_432])
})

describe('a status', () => {
  const passing = {
    http: new Set([408, 424, 425, 429, 500, 502, 503, 504, 529]),
    grpc: new Set([1, 2, 4, 8, 10, 13, 14]),
  }
  const remedies = {
    http: [401, 403, 404, 405, 410],
    grpc: [7, 16, 5, 12],
  }
  const asked = [
    ...[...passing.http, 206, 302, 400, 401, 403, 404, 405, 409, 410, 413, 422, 451].map((status) => ({
      by: 'http' as const,
      status,
    })),
    ...Array.from({ length: 16 }, (_, at) => ({ by: 'grpc' as const, status: at + 1 })),
  ]
  it.each(asked)('$status of $by says whether it may pass, and what to do', async ({ by, status }) => {
    const { file, texts }: Tested = protocols[by === 'http' ? 'json' : 'grpc']
    const reply = by === 'http' ? { status, body: '' } : { body: '', headers: { 'grpc-status': `${status}` } }
    const failureOf = async (changes: object) =>
      (await ask({ ...file(1), ...changes }, { kind: 'number' }, [reply], texts)).failure as Error
    const failure = await failureOf({})
    expect(failure).toMatchObject({
      code: passing[by].has(status) ? 'model_unavailable' : 'endpoint_unusable',
    })
    if (!remedies[by].includes(status)) return expect(failure.message).not.toContain('endpoint.json')
    expect(failure.message).toMatch(/: (name a secret|correct the address or the model).* endpoint\.json$/)
    if (failure.message.includes('secret'))
      expect((await failureOf({ secret: 'roses' })).message).toMatch(
        /: store a secret roses that it accepts$/,
      )
  })
})

describe('the status 400 of SageMaker', () => {
  const failureOf = async (reply: Omit<Reply, 'status'>, { file } = protocols.sagemaker) =>
    (await ask(file(1), { kind: 'number' }, [{ status: 400, ...reply }])).failure as Error & {
      ofRows?: boolean
    }
  const body = (type: string) => JSON.stringify({ __type: type, message: 'Rate exceeded' })
  const plain = { body: '{"message":"Rate exceeded"}' }
  it.each([
    ['of its header', { ...plain, headers: { 'x-amzn-errortype': 'ThrottlingException' } }],
    [
      'of its header, with the address of a service',
      { ...plain, headers: { 'x-amzn-errortype': 'ThrottlingException:http://internal.amazon.com/coral/' } },
    ],
    ['of its body', { body: body('ThrottlingException') }],
    [
      'of its body, with the name of a service',
      { body: body('com.amazon.coral.availability#ThrottlingException') },
    ],
  ])(
    'may pass where AWS limits the requests, by the type %s, and no row is asked alone',
    async (_where, reply) => {
      const failure = await failureOf(reply)
      expect(failure).toMatchObject({ code: 'model_unavailable', ofRows: false })
      expect(failure.message).toBe('the endpoint at models.example.org answers 400 (ThrottlingException)')
    },
  )
  it.each([
    ['another type', { body: body('ValidationError'), headers: { 'x-amzn-errortype': 'ValidationError' } }],
    ['a text that names it', { body: '{"message":"no ThrottlingException"}' }],
    ['no JSON', { body: 'ThrottlingException' }],
    ['null', { body: 'null' }],
  ])('does not pass with %s', async (_what, reply) => {
    expect(await failureOf(reply)).toMatchObject({ code: 'endpoint_unusable', ofRows: true })
  })
  it('is that of a wrong request by another protocol', async () => {
    const reply = { body: body('ThrottlingException') }
    expect(await failureOf(reply, protocols.json as never)).toMatchObject({ code: 'endpoint_unusable' })
  })
})

it.each([400, 422, 500])('the status %i to rows without a value names their columns', async (status) => {
  const { file } = protocols.json
  const { failure } = await ask(file(1), { kind: 'number' }, [{ status, body: '' }])
  expect((failure as Error).message).toBe(
    `the endpoint at models.example.org answers ${status} to rows of which some have no value of "size", "colour"`,
  )
})

describe.each(['open-inference', 'grpc'] as const)('the id of a request of %s', (protocol) => {
  const { file, texts }: Tested = protocols[protocol]
  const isGrpc = protocol === 'grpc'
  /** The field 3 of a message, which is behind its name. */
  const idOf = ({ body }: OutgoingQuestion): string =>
    isGrpc
      ? /roses[^]{2}([\da-f-]{36}-\d+)/.exec(Buffer.from(body).toString('latin1'))![1]!
      : (JSON.parse(String(body)) as { id: string }).id
  const said = (id: string | null | undefined): Reply =>
    isGrpc
      ? { body: inferAnswer([[1], [2]], { id: id ?? undefined }) }
      : { body: JSON.stringify({ ...(protocols['open-inference'].answers([[1], [2]])[0] as object), id }) }
  const answered = (answer: (question: OutgoingQuestion) => Reply) =>
    ask(file(1), { kind: 'number' }, [answer], texts)

  it('is its own, and an answer repeats it', async () => {
    const echo = (question: OutgoingQuestion) => said(idOf(question))
    const both = [await answered(echo), await answered(echo)]
    expect(both.map(({ given }) => given)).toEqual([
      [1, 2],
      [1, 2],
    ])
    expect(new Set(both.map(({ asked }) => idOf(asked[0]!))).size).toBe(2)
  })

  // The examples of KServe make one up.
  it.each([undefined, null, '', '1', 'f6dba5a0-3f0c-4c1b-9b6e-7c1d0e5d4a11'])(
    'may be left out of an answer, or be made up: %j',
    async (id) => expect((await answered(() => said(id))).given).toEqual([1, 2]),
  )

  it('in the answer to another one is refused', async () => {
    const { asked } = await answered(() => said(undefined))
    expect((await answered(() => said(idOf(asked[0]!)))).failure).toMatchObject({
      code: 'endpoint_unusable',
      message: expect.stringContaining('it has the "id" of another request') as string,
    })
  })
})

describe('the Open Inference Protocol', () => {
  const { file, answers } = protocols['open-inference']
  const number = { kind: 'number' } as const

  it('sends a tensor for each column, or one for all', async () => {
    const { asked } = await ask({ ...file(1), pandas: true }, number, bodies(answers([[1], [2]])))
    expect(asked[0]).toMatchObject({
      address: 'https://models.example.org/served/v2/models/roses/versions/v3/infer',
      maxMs: 1_000,
    })
    expect(JSON.parse(String(asked[0]!.body))).toEqual({
      id: expect.any(String) as string,
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
        'own',
      ).body,
    ).toMatchObject({
      inputs: [{ name: 'x', shape: [2, 2], datatype: 'FP32', data: [1, 3, 2, 4] }],
    })
  })

  it.each([
    ['[n]', [2], [1, 2]],
    ['[n, 1]', [2, 1], [1, 2]],
    ['[n, 1] in lists', [2, 1], [[1], [2]]],
    ['[n, 1, 1] in lists', [2, 1, 1], [[[1]], [[2]]]],
    ['[n, 1] of BOOL', [2, 1], [true, false], [1, 0]],
  ])('reads an output of the shape %s', async (_what, shape, data, expected = [1, 2]) => {
    const said = { outputs: [{ name: 'scores', shape, datatype: 'FP64', data }] }
    expect((await ask(file(1), number, bodies([said]))).given).toEqual(expected)
  })

  it.each([
    ['more numbers than its shape', [2, 1], [1, 2, 3, 4]],
    ['fewer numbers than its shape', [2, 2], [1, 2]],
    ['the rows in another dimension', [1, 2], [1, 2]],
    ['a shape of texts', ['x', 'y'], [1, 2]],
    ['no shape', undefined, [1, 2]],
  ])('uses no output with %s', async (_what, shape, data) => {
    const said = { outputs: [{ name: 'scores', shape, datatype: 'FP64', data }] }
    expect((await ask(file(1), number, bodies([said]))).failure).toMatchObject({
      message: expect.stringContaining('in the wrong shape for 2 rows') as string,
    })
  })

  it('uses no answer of another revision, and one that names none', async () => {
    const [said] = answers([[1], [2]]) as [object]
    const ofOther = bodies([{ ...said, model_version: 'v4' }])
    expect((await ask(file(1), number, ofOther)).failure).toMatchObject({
      message: expect.stringContaining('it is of another revision than "v3"') as string,
    })
    const ofNone = bodies([{ ...said, model_version: null }])
    expect((await ask(file(1), number, ofNone)).failure).toBeUndefined()
  })
})

describe('the Open Inference Protocol by gRPC', () => {
  const { file, texts } = protocols.grpc
  const number = { kind: 'number' } as const
  const rows = [[1.5], [-2]]
  const say = (body: Buffer, headers?: Record<string, string>, changes: object = {}) =>
    ask({ ...file(1), ...changes }, number, [{ body, headers }], texts)

  const givenMs = 250
  it('is asked over HTTP/2, in the time that an answer may take', async () => {
    const { asked, given } = await say(inferAnswer(rows), undefined, { timeoutMs: givenMs })
    expect(asked[0]).toMatchObject({
      address: 'http://models.example.org:9000/inference.GRPCInferenceService/ModelInfer',
      headers: { 'content-type': 'application/grpc', te: 'trailers', 'grpc-timeout': '250m' },
      http2: true,
      maxMs: 250,
    })
    expect(given).toEqual([1.5, -2])
    const tls = await say(inferAnswer(rows), undefined, { address: 'grpcs://models.example.org:9000/' })
    expect(tls.asked[0]!.address).toMatch(/^https:\/\/models\.example\.org:9000\/inference/)
  })

  it('reads numbers that stand beside the outputs, as KServe and Triton send them', async () => {
    expect((await say(inferAnswer(rows, { raw: true }))).given).toEqual([1.5, -2])
  })

  /** Each type of raw numbers, the bytes of two of them, and what these are. */
  const types: Record<string, [bytes: ArrayBufferView, expected: number[]]> = {
    BOOL: [Uint8Array.of(1, 0), [1, 0]],
    INT8: [Int8Array.of(-7, 7), [-7, 7]],
    UINT8: [Uint8Array.of(200, 7), [200, 7]],
    INT16: [Int16Array.of(-700, 7), [-700, 7]],
    UINT16: [Uint16Array.of(60_000, 7), [60_000, 7]],
    INT32: [Int32Array.of(-70_000, 7), [-70_000, 7]],
    UINT32: [Uint32Array.of(4_000_000_000, 7), [4_000_000_000, 7]],
    INT64: [BigInt64Array.of(-(2n ** 40n), 7n), [-(2 ** 40), 7]],
    UINT64: [BigUint64Array.of(2n ** 40n, 7n), [2 ** 40, 7]],
    FP16: [Uint16Array.of(0x3800, 0xc100), [0.5, -2.5]],
    BF16: [Uint16Array.of(0x3f00, 0xc020), [0.5, -2.5]],
    FP32: [Float32Array.of(0.5, -2.5), [0.5, -2.5]],
    FP64: [Float64Array.of(0.5, -2.5), [0.5, -2.5]],
  }
  it.each(Object.entries(types))('reads raw numbers of %s', async (type, [numbers, expected]) => {
    const raw = Buffer.from(numbers.buffer as ArrayBuffer)
    expect((await say(inferAnswer(rows, { raw, type }))).given).toEqual(expected)
    const cut = await say(inferAnswer(rows, { raw: raw.subarray(0, raw.length / 2), type }))
    expect(cut.failure).toMatchObject({ code: 'endpoint_unusable' })
  })

  it.each([
    ['the least of FP16', 1, 2 ** -24],
    ['the largest of FP16', 0x7bff, 65_504],
    ['a negative one of FP16', 0x8001, -(2 ** -24)],
  ])('reads %s', async (_what, bits, expected) => {
    const raw = Buffer.from(Uint16Array.of(bits, bits).buffer)
    expect((await say(inferAnswer(rows, { raw, type: 'FP16' }))).given).toEqual([expected, expected])
  })

  it.each([
    ['infinite', 0x7c00],
    ['no number', 0x7c01],
  ])('uses no number of FP16 that is %s', async (_what, bits) => {
    const raw = Buffer.from(Uint16Array.of(bits, bits).buffer)
    expect((await say(inferAnswer(rows, { raw, type: 'FP16' }))).failure).toMatchObject({
      message: expect.stringContaining('not a number') as string,
    })
  })

  it('sends no missing text', async () => {
    expect((await ask(file(1), number, [{ body: inferAnswer(rows) }])).failure).toMatchObject({
      code: 'wrong_type',
      message: 'gRPC cannot send a missing text',
    })
  })

  const good = inferAnswer(rows)
  const changed = (at: number, byte: number): Buffer => {
    const bytes = Buffer.from(good)
    bytes[at] = byte
    return bytes
  }
  it.each([
    ['no status', good, {}, 'ends its answer without a status of gRPC'],
    ['an empty status', good, { 'grpc-status': '' }, 'ends its answer without a status of gRPC'],
    ['a status of a failure', Buffer.alloc(0), { 'grpc-status': '14' }, 'answers with the status 14 of gRPC'],
    ['a compressed message', changed(0, 1), undefined, 'it is compressed'],
    ['a message that is cut', good.subarray(0, -1), undefined, 'it is not one message of gRPC'],
    ['a field that is cut', changed(6, 120), undefined, 'it ends within a field'],
    ['an unknown type of a field', changed(5, 11), undefined, 'it has a field of the wire type 3'],
    [
      'another revision',
      inferAnswer(rows, { version: 'v4' }),
      undefined,
      'it is of another revision than "v3"',
    ],
  ])('fails with %s', async (what, body, headers, why) => {
    expect((await say(body, headers, { revision: 'v3' })).failure).toMatchObject({
      code: what === 'a status of a failure' ? 'model_unavailable' : 'endpoint_unusable',
      message: expect.stringContaining(why) as string,
    })
  })
})

it('signs a request to SageMaker, and names the variant', async () => {
  const { file, answers } = protocols.sagemaker
  const { asked } = await ask(file(1), { kind: 'number' }, bodies(answers([[1], [2]])))
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

describe('a completion', () => {
  const file = protocols.completion.file(1)
  const { json: _json, ...plain } = file
  const classes = { kind: 'classes', classes: ['red', 'white'] } as const
  const words = { ...plain, words: { Red: 'red', crimson: 'red', 'off-white': 'white' } }
  const say = async (given: object, output: Output, ...contents: (string | null)[]) =>
    ask(given, output, bodies(contents.map((content) => completion(content))))

  it('asks each row alone, by its prompt, and always alike', async () => {
    const { asked } = await say({ ...words, system: 'Be brief.', maxTokens: 3 }, classes, 'red', 'red')
    expect(asked[0]!.address).toBe('https://models.example.org/served/chat/completions')
    expect(asked.map(({ body }) => JSON.parse(String(body)) as unknown)).toEqual(
      ['A red rose of 1.5 cm: answer JSON.', 'A  rose of  cm: answer JSON.'].map((content) => ({
        model: 'small-2',
        messages: [
          { role: 'system', content: 'Be brief.' },
          { role: 'user', content },
        ],
        temperature: 0,
        seed: 0,
        max_tokens: 3,
      })),
    )
  })

  it('sends a newer model no field that it refuses', async () => {
    const newer = { ...words, maxTokensField: 'max_completion_tokens', sendTemperature: false }
    const { asked } = await say(newer, classes, 'red')
    const body = JSON.parse(String(asked[0]!.body)) as object
    expect(body).toMatchObject({ max_completion_tokens: 16 })
    expect(body).not.toHaveProperty('max_tokens')
    expect(body).not.toHaveProperty('temperature')
  })

  it('means a class or a number by its words, whatever their case and punctuation', async () => {
    const { given } = await say(words, classes, ' "Crimson."\n', 'OFF-white')
    expect(given).toEqual([1, 0, 0, 1])
    const numbers = { ...plain, words: { yes: 1, no: 0 } }
    expect((await say(numbers, { kind: 'probability', positive: 'y' }, 'Yes!', 'no')).given).toEqual([1, 0])
  })

  it('means them by a word of its JSON', async () => {
    const inJson = { ...file, json: ['is.red'], words: { true: 1, false: 0 } }
    const { given, asked } = await say(
      inJson,
      { kind: 'number' },
      '{"is":{"red":true}}',
      '{"is":{"red":"No"}}',
    )
    expect(given[0]).toBe(1)
    expect(JSON.parse(String(asked[0]!.body))).toMatchObject({ response_format: { type: 'json_object' } })
  })

  it.each([
    ['another word', completion('red, I think'), 'it is none of the "words"'],
    ['nothing', completion(''), 'it is none of the "words"'],
    ['a refusal', completion(null), 'it has no text at choices.0.message.content'],
    [
      'too many tokens',
      completion('red', { finish_reason: 'length' }),
      'it was cut after "maxTokens", 16 tokens',
    ],
    ['another model', { ...completion('red'), model: 'large' }, 'it is not of the model "small-2-2026"'],
  ])('fails with %s', async (_what, answer, why) => {
    const given = why.includes('2026') ? { ...words, revision: 'small-2-2026' } : words
    expect((await ask(given, classes, bodies([answer]))).failure).toMatchObject({
      code: 'endpoint_unusable',
      message: expect.stringContaining(why) as string,
    })
  })

  it('means classes that are numbers', async () => {
    const digits = { kind: 'classes', classes: ['0', '1'] } as const
    const { given, failure } = await say({ ...plain, words: { zero: 0, one: '1' } }, digits, 'zero', 'One')
    expect(failure).toBeUndefined()
    expect(given).toEqual([1, 0, 0, 1])
  })

  it('costs what its tokens cost, as the server tells them', async () => {
    const priced = { ...words, price: { perMillionTokens: { input: 2, output: 10 }, unit: 'USD' } }
    const answers = [100, 200].map((prompt_tokens) => ({
      ...completion('red'),
      usage: { prompt_tokens, completion_tokens: 1 },
    }))
    const { price } = await ask(priced, classes, bodies(answers))
    expect(price).toEqual({ per1000: expect.closeTo((300 * 2 + 2 * 10) / 2_000, 9) as number, unit: 'USD' })
    expect((await ask(priced, classes, bodies([completion('red')]))).price).toBeUndefined()
  })
})

it('an embedding asks for the numbers of its texts, and refuses a missing text', async () => {
  const file = { ...protocols.embedding.file(2), sendDimensions: true, revision: 'small-2' }
  const numbers = { kind: 'numbers', names: ['a', 'b'] } as const
  const [said] = protocols.embedding.answers([
    [1, 2],
    [3, 4],
  ]) as [object]
  const { asked, given } = await ask(file, numbers, bodies([{ ...said, model: 'small-2' }]), ['x', 'y'])
  expect(given).toEqual([1, 2, 3, 4])
  expect(asked[0]!.address).toBe('https://models.example.org/served/embeddings')
  expect(JSON.parse(String(asked[0]!.body))).toEqual({
    model: 'small-2',
    input: ['x', 'y'],
    encoding_format: 'float',
    dimensions: 2,
  })
  expect((await ask(file, numbers, bodies([said]))).failure).toMatchObject({ code: 'wrong_type' })
  const twice = { model: 'small-2', data: [0, 0].map((index) => ({ index, embedding: [1, 2] })) }
  expect((await ask(file, numbers, bodies([twice]), ['x', 'y'])).failure).toMatchObject({
    message: expect.stringContaining('it has no row 1') as string,
  })
})

describe('words that cannot answer the output of the model', () => {
  const { json: _json, ...plain } = protocols.completion.file(1)
  it.each([
    [
      'a class that it lacks',
      { a: 'red', b: 'blue' },
      { kind: 'classes', classes: ['red', 'white'] },
      'the class "blue"',
    ],
    [
      'no word for a class',
      { a: 'red' },
      { kind: 'classes', classes: ['red', 'white'] },
      'no word for the class "white"',
    ],
    ['a text for a number', { a: 'red' }, { kind: 'number' }, 'give the number that the word means'],
    ['several numbers', { a: 1 }, { kind: 'numbers', names: ['a', 'b'] }, 'use "json"'],
  ] as [string, object, Output, string][])('are refused: %s', (_what, words, output, why) => {
    const files = { 'endpoint.json': bytesOf({ ...plain, words }) }
    expect(() => formatOf({ artifact: 'endpoint' }).inspect(files, output)).toThrow(why)
  })
})

describe('a file is refused', () => {
  const { json: places, ...unsaid } = protocols.completion.file(1)
  const embedding = protocols.embedding.file(1)
  const json = protocols.json.file(1) as Record<string, unknown>
  const oip = protocols['open-inference'].file(1) as Record<string, unknown>
  const files: [what: string, file: object | string, why: string][] = [
    ['that is no JSON', '{"endpoint": json}', 'endpoint.json is not valid JSON'],
    ['with a field twice', '{"endpoint": "json", "endpoint": "json"}', 'has "endpoint" twice in one object'],
    [
      'of an unknown protocol',
      { endpoint: 'grpc' },
      'must be one of open-inference, json, mlflow, sagemaker, openai',
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
      'with a text that is a vector',
      { ...json, columns: [{ name: 'a', text: true, vector: 2 }] },
      '"columns.0": is a text or a vector',
    ],
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
    [
      'by gRPC of another protocol',
      { ...json, address: 'grpc://a:1' },
      'must be an http:// or https:// address',
    ],
    ['by gRPC without a port', { ...oip, address: 'grpc://models.example.org' }, 'must be a host and a port'],
    ['by gRPC at a path', { ...oip, address: 'grpcs://models.example.org:1/a' }, 'must be a host and a port'],
    ['of an unknown kind', { ...embedding, kind: 'image' }, '"kind": must be completion or embedding'],
    [
      'with an unknown place in a prompt',
      { ...unsaid, json: places, prompt: '{{a}}' },
      'has {{a}}, which is no column',
    ],
    ['with a column that no prompt has', { ...unsaid, json: places, prompt: '{{size}}' }, 'lacks {{COLOUR}}'],
    ['that says no meaning', unsaid, 'has neither "words" nor "json"'],
    ['with words at two places', { ...unsaid, json: ['a', 'b'], words: { a: 1 } }, 'words are read at one'],
    ['with one word twice', { ...unsaid, words: { 'a.': 1, A: 0 } }, 'has "a" twice'],
    [
      'with a prompt for several rows',
      { ...unsaid, json: places, maxRows: 2 },
      'each row has a prompt of its own',
    ],
    [
      'with a word for a number that 32 bits do not hold',
      { ...unsaid, words: { many: 1e39 } },
      '"words.many": must be',
    ],
    ['with a row in a place', { ...unsaid, json: ['*'] }, 'without *'],
    ['with an embedding of a number', { ...embedding, columns: ['size'] }, 'other columns than one text'],
    ['with a price of nothing', { ...embedding, price: { unit: 'EUR' } }, '"price": must be {"per1000"'],
  ]
  it('by its own reader, wherever its protocol stands', () => {
    const { endpoint, ...rest } = json
    const last = JSON.stringify({ ...rest, endpoint })
    expect(fileNameOf(Buffer.from(last))).toBe('endpoint.json')
    expect(fileNameOf(Buffer.from(last.replace(/\}$/, ',}')))).toBe('endpoint.json')
    // Within a model of trees, and in a file that is too long for an endpoint.
    expect(fileNameOf(Buffer.from('{"learner": {"endpoint": "json"}}'))).toBe('model.json')
    expect(fileNameOf(Buffer.from(`{"padding": "${'x'.repeat(1_048_576)}", "endpoint": "json"}`))).toBe(
      'model.json',
    )
  })

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
    const [size, , age] = fits
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
