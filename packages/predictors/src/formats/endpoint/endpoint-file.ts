/**
 * Reads `endpoint.json`: where a model is served, by which protocol, which features it is asked with, and where its numbers stand in the
 * answer. The file is data. It names a secret and never holds one.
 */
import { z } from 'zod'
import { refuse } from '../../errors.ts'
import { findRepeated } from '../../json.ts'
import { placeholder, plainWord } from './words.ts'

export const endpointFileName = 'endpoint.json'
export const endpointFileBytes = 1_048_576

const word = z.string().min(1).max(200)
/** Becomes a part of a path. */
const pathName = z.string().regex(/^\w[\w.-]{0,199}$/, 'must be a name of letters, digits, ., _ and -')

/** Whether an endpoint is asked by gRPC. */
export const isGrpc = (address: string): boolean => /^grpcs?:/.test(address)

/** Whether a number is finite as one of 32 bits too. */
export const isSingle = (value: number): boolean => Number.isFinite(Math.fround(value))

/** A feature, and the name under which the endpoint takes it. Default: its own. */
const column = z.preprocess(
  (given) => (typeof given === 'string' ? { name: given } : given),
  z
    .strictObject({
      name: word,
      as: word.optional(),
      text: z.boolean().default(false),
      /** How many numbers it has. */
      vector: z.int().min(1).max(10_000).optional(),
    })
    .refine(
      ({ text, vector }) => !text || vector === undefined,
      'is a text or a vector: leave one of them out',
    ),
)

const addressOf = (protocol: RegExp, error: string) =>
  z.url({ protocol, error }).refine((given) => {
    const { username, password, search, hash } = new URL(given)
    return `${username}${password}${search}${hash}` === ''
  }, 'must have no user, password, query or fragment: name what is secret as "secret"')
const address = addressOf(/^https?$/, 'must be an http:// or https:// address')
const httpOrGrpc = addressOf(
  /^(?:http|grpc)s?$/,
  'must be an http://, https://, grpc:// or grpcs:// address',
).refine((given) => {
  const { port, pathname } = new URL(given)
  return !isGrpc(given) || (port !== '' && /^\/?$/.test(pathname))
}, 'must be a host and a port, such as grpc://models.example.org:8081')

/** A place in an answer of JSON: names and positions with dots between them, and `*` for the row. */
const path = z
  .string()
  .max(500)
  .regex(
    /^(?:[^.*]+\.)*\*(?:\.[^.*]+)*$/,
    'must be a place with one * for the row, such as predictions.*.score',
  )

const amount = z.number().min(0).max(1e9)
const unit = z.string().min(1).max(10)

const shared = {
  address,
  columns: z.array(column).min(1).max(10_000),
  secret: pathName.optional(),
  timeoutMs: z.int().min(1).max(60_000).default(1_000),
  maxRows: z.int().min(1).max(10_000).default(64),
  maxConcurrent: z.int().min(1).max(256).default(16),
  price: z.strictObject({ per1000: amount, unit }).optional(),
}
const rows = word.default('instances')
const paths = z.array(path).min(1).max(1_000)

/** What the servers that take requests as OpenAI does have in common. */
const openai = {
  endpoint: z.literal('openai'),
  ...shared,
  model: word,
  /** What an answer names as its model. An alias is answered by the name of the model behind it. */
  revision: word.optional(),
  /** A price for 1,000 rows, or of the tokens that each answer says it has taken. */
  price: z
    .union(
      [
        z.strictObject({ per1000: amount, unit }),
        z.strictObject({
          perMillionTokens: z.strictObject({ input: amount, output: amount.default(0) }),
          unit,
        }),
      ],
      { error: 'must be {"per1000", "unit"} or {"perMillionTokens": {"input", "output"}, "unit"}' },
    )
    .optional(),
}
/** A place in the JSON that a completion writes. */
const place = z
  .string()
  .max(500)
  .regex(/^[^.*]+(?:\.[^.*]+)*$/, 'must be a place such as result.score, without *')

const openaiKinds = [
  z.strictObject({
    ...openai,
    kind: z.literal('completion'),
    maxRows: z.literal(1, { error: 'must be 1: each row has a prompt of its own' }).default(1),
    system: z.string().max(100_000).optional(),
    /** Holds each column as `{{name}}`. A missing value leaves its place empty. */
    prompt: z.string().min(1).max(100_000),
    /** What each word of an answer means: the name of a class, or a number. */
    words: z
      .record(
        word,
        z.union([word, z.number().refine(isSingle, 'must be a number that 32 bits hold')], {
          error: 'must be the name of a class or a number',
        }),
      )
      .optional(),
    /** Asks for JSON, and reads its numbers, or the one word, at these places. */
    json: z.array(place).min(1).max(1_000).optional(),
    maxTokens: z.int().min(1).max(100_000).default(16),
    /** The field of the request that limits the tokens: newer models of OpenAI refuse the older one. */
    maxTokensField: z.enum(['max_tokens', 'max_completion_tokens']).default('max_tokens'),
    /** Asks for the temperature 0, which newer models of OpenAI refuse: they take no other than their own. */
    sendTemperature: z.boolean().default(true),
    seed: z.int().min(0).max(2_147_483_647).default(0),
  }),
  z.strictObject({
    ...openai,
    kind: z.literal('embedding'),
    /** How many numbers an embedding has. */
    dimensions: z.int().min(1).max(10_000),
    /** Asks the server for this many, where its model has several sizes. */
    sendDimensions: z.boolean().default(false),
  }),
] as const

const schema = z.discriminatedUnion(
  'endpoint',
  [
    z.strictObject({
      endpoint: z.literal('open-inference'),
      ...shared,
      address: httpOrGrpc,
      model: pathName,
      revision: pathName.optional(),
      /** Asks for one frame of pandas, as MLServer makes it of the columns. */
      pandas: z.boolean().default(false),
      /** The type of a tensor of numbers. */
      datatype: z.enum(['FP32', 'FP64']).default('FP64'),
      /** Sends all numbers as one tensor, in place of one for each column. */
      tensor: z.strictObject({ name: word, datatype: z.enum(['FP32', 'FP64']) }).optional(),
      outputs: z
        .array(z.strictObject({ from: word, at: z.int().min(0).max(9_999).default(0) }))
        .min(1)
        .max(1_000),
    }),
    z.strictObject({ endpoint: z.literal('json'), ...shared, rows, outputs: paths }),
    z.strictObject({ endpoint: z.literal('mlflow'), ...shared, outputs: paths }),
    z.strictObject({
      endpoint: z.literal('sagemaker'),
      ...shared,
      model: pathName,
      /** The variant, where the endpoint has several. */
      revision: pathName.optional(),
      region: pathName,
      rows,
      outputs: paths,
    }),
    z.discriminatedUnion('kind', openaiKinds, { error: 'must be completion or embedding' }),
  ],
  { error: 'must be one of open-inference, json, mlflow, sagemaker, openai' },
)

export type Endpoint = z.infer<typeof schema>
export type ProtocolName = Endpoint['endpoint']
export type EndpointOf<Name extends ProtocolName> = Extract<Endpoint, { endpoint: Name }>

/** Throws `artifact_invalid` with every issue. */
export function readEndpoint(bytes: Uint8Array): Endpoint {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
  let given: unknown
  try {
    given = JSON.parse(text)
  } catch (error) {
    return refuse(`${endpointFileName} is not valid JSON: ${(error as Error).message}`)
  }
  const repeated = findRepeated(text)
  if (repeated !== undefined)
    refuse(`${endpointFileName} has ${JSON.stringify(repeated)} twice in one object`)
  const { data, error } = schema.safeParse(given)
  if (error !== undefined)
    return refuse(
      `${endpointFileName}: ${error.issues.map((issue) => `${placeOf(issue.path)}${issue.message}`).join('; ')}`.slice(
        0,
        2_000,
      ),
    )
  const { columns } = data
  const names = columns.map(({ name, as = name }) => as)
  const twice = names.find((name, at) => names.indexOf(name) < at)
  if (twice !== undefined)
    refuse(`${endpointFileName} sends two columns as ${JSON.stringify(twice)}: give one of them another "as"`)
  if (data.endpoint === 'open-inference' && data.tensor !== undefined) {
    const texts = columns.find(({ text: isText }) => isText)
    if (texts !== undefined)
      refuse(
        `${endpointFileName} sends one tensor of numbers, and ${JSON.stringify(texts.name)} is a text: leave "tensor" out`,
      )
    if (data.pandas) refuse(`${endpointFileName} has "tensor" and "pandas": leave one of them out`)
  }
  if (data.endpoint === 'openai') checkOpenAi(data, names)
  return data
}

function checkOpenAi(data: EndpointOf<'openai'>, names: readonly string[]): void {
  if (data.kind === 'embedding') {
    if (data.columns.length > 1 || !data.columns[0]!.text)
      refuse(`${endpointFileName} takes other columns than one text: an embedding is that of a text`)
    return
  }
  const { prompt, words, json } = data
  const wanted = [...prompt.matchAll(placeholder)].map(([, name]) => name!)
  const unknown = wanted.find((name) => !names.includes(name))
  if (unknown !== undefined) refuse(`"prompt" of ${endpointFileName} has {{${unknown}}}, which is no column`)
  const unused = names.find((name) => !wanted.includes(name))
  if (unused !== undefined)
    refuse(
      `"prompt" of ${endpointFileName} lacks {{${unused}}}: name each column in it, or leave the column out`,
    )
  if (words === undefined && json === undefined)
    refuse(`${endpointFileName} has neither "words" nor "json": say what an answer means`)
  if (words === undefined) return
  if (json !== undefined && json.length > 1)
    refuse(`${endpointFileName} has "words" and several places in "json": words are read at one`)
  const plain = Object.keys(words).map(plainWord)
  const twice = plain.find((each, at) => each === '' || plain.indexOf(each) < at)
  if (twice !== undefined)
    refuse(
      `"words" of ${endpointFileName} has ${JSON.stringify(twice)} twice, or a word without letters: case and punctuation do not count`,
    )
}

const placeOf = (path: readonly PropertyKey[]): string =>
  path.length === 0 ? '' : `"${path.map(String).join('.')}": `
