/**
 * Asks servers of others for the answers of models. Every failure of a server is one of its version, and none delays another model: each
 * endpoint has its own queue, a limited number of open requests, and limits of time and bytes.
 */
import { randomUUID } from 'node:crypto'
import { predictorError, quoted, refuse } from '../../errors.ts'
import { noText, type Output } from '../../features.ts'
import type { Predictor, RunTicket } from '../../predictor.ts'
import { createBatcher, type ModelBatch } from '../../runtime/batcher.ts'
import type { Hosts, OutgoingQuestion, OutgoingReply } from '../../runtime/hosts.ts'
import type { RuntimeOptions, TextsOf } from '../../runtime/runtime.ts'
import { endpointFileName, isGrpc, type Endpoint } from './endpoint-file.ts'
import { decodeInfer, encodeInfer, inferPath, type InferQuestion } from './infer-message.ts'
import type { Columns, Question, Value } from './protocol.ts'
import { protocolOf, widthOf } from './protocols.ts'

/** Begins the ids of requests of this process. */
const asker = randomUUID()
let requests = 0

export interface Endpoints {
  open(
    name: string,
    endpoint: Endpoint,
    shape: { inputs: number; output: Output; textsOf?: TextsOf },
  ): Predictor
}

/** The bytes of an answer beside its numbers, and those of each number with its names. */
const answerBytes = 65_536
const outputBytes = 1_024
/** The most bytes of any answer, because it is parsed in one piece. */
const maxAnswerBytes = 33_554_432

interface Statuses {
  /**
   * What servers answer where they cannot compute a row: each request of the batch is then asked alone. MLServer answers 500; by gRPC, unknown,
   * an invalid argument or internal.
   */
  ofRows: readonly number[]
  /** Whether the same request may succeed later. */
  mayPass: (status: number) => boolean
  /** The caller is not allowed to ask. */
  forbidden: readonly number[]
  /** The server has no such model. */
  unknown: readonly number[]
}
const statuses: Record<'http' | 'grpc', Statuses> = {
  http: {
    ofRows: [400, 422, 500],
    // SageMaker answers 424 where the container of the model fails.
    mayPass: (status) => status >= 500 || [408, 424, 425, 429].includes(status),
    forbidden: [401, 403],
    unknown: [404, 405, 410],
  },
  // https://grpc.github.io/grpc/core/md_doc_statuscodes.html
  grpc: {
    ofRows: [2, 3, 13],
    mayPass: (status) => [1, 2, 4, 8, 10, 13, 14].includes(status),
    forbidden: [7, 16],
    unknown: [5, 12],
  },
}

const unstarted: RunTicket = { background: false, cancelled: false, begunMs: 0 }

export const createEndpoints = ({
  hosts,
  batches,
}: Pick<RuntimeOptions, 'hosts' | 'batches'>): Endpoints => ({
  open(name, endpoint, { inputs, output: wanted, textsOf }) {
    const ask = hosts?.ask?.bind(hosts)
    if (ask === undefined) return refuse('the model is served elsewhere, and this program asks no endpoints')
    const { maxRows, maxConcurrent } = endpoint
    const outputs = widthOf(endpoint, wanted)
    const bill = openBill(endpoint)
    const batcher = createBatcher({
      ...batches,
      // A request costs about the same for one row as for many, and waits for the network.
      waitMs: 0,
      batchMs: Infinity,
      maxRows,
      concurrent: maxConcurrent,
      isFinal: (error) => (error as { ofRows?: boolean }).ofRows === false,
    })
    const { host } = new URL(endpoint.address)
    const lane = batcher.lane({ inputs, outputs }, (batch) =>
      answersOf(ask, endpoint, { host, batch, outputs, output: wanted, bill }),
    )
    return {
      inputs,
      outputs,
      price: bill.price,
      run: (input, rows, output, order = { ...unstarted }, texts) =>
        lane.run(input, rows, output, order, texts && textsOf?.(texts, rows)),
      trouble: () => undefined,
      close: () => lane.close(predictorError('model_unavailable', `${name} is no longer loaded`)),
    }
  },
})

interface Asking {
  host: string
  batch: ModelBatch
  /** How many numbers a row gets. */
  outputs: number
  output: Output
  bill: Bill
}

/** What an endpoint charges: as its file says, or by the tokens that its answers name. */
interface Bill {
  add(rows: number, tokens?: { input: number; output: number }): void
  /** Absent while it is not known. */
  price(): { per1000: number; unit: string } | undefined
}

function openBill({ price }: Endpoint): Bill {
  if (price === undefined || 'per1000' in price) return { add: () => {}, price: () => price }
  const { perMillionTokens, unit } = price
  let [counted, spent] = [0, 0]
  return {
    add(rows, tokens) {
      if (tokens === undefined) return
      counted += rows
      spent += (tokens.input * perMillionTokens.input + tokens.output * perMillionTokens.output) / 1e6
    },
    price: () => (counted === 0 ? undefined : { per1000: (1_000 * spent) / counted, unit }),
  }
}

async function answersOf(
  ask: NonNullable<Hosts['ask']>,
  endpoint: Endpoint,
  { host, batch, outputs, output, bill }: Asking,
): Promise<Float32Array> {
  const { rows } = batch
  const { encode, decode, tokensOf } = protocolOf(endpoint)
  const failure = (why: string, { lasting = true, ofRows = false } = {}) =>
    Object.assign(
      predictorError(
        lasting ? 'endpoint_unusable' : 'model_unavailable',
        `the endpoint at ${host} ${why}`.slice(0, 500),
      ),
      { ofRows },
    )
  const failureOf = (by: Statuses, status: number, said: string) =>
    failure(
      `answers ${said}${by.ofRows.includes(status) ? missingText(endpoint, columns) : remedyOf(by, status, endpoint)}`,
      {
        lasting: !by.mayPass(status),
        ofRows: by.ofRows.includes(status),
      },
    )
  const id = `${asker}-${requests++}`
  const columns = columnsOf(endpoint, batch)
  const question = encode(endpoint, columns, rows, id)
  const asked = questionOf(endpoint, question, rows * outputs)
  let reply: OutgoingReply
  try {
    reply = await ask(asked)
  } catch (error) {
    const { message, lasting = false } = error as Error & { lasting?: boolean }
    throw failure(`gives no answer: ${message}`, { lasting })
  }
  const { status, body } = reply
  if (status >= 300 && status < 400)
    throw failure(`answers ${status} and names another address, which is not followed`)
  if (status > 200 && status < 300)
    throw failure(`answers ${status}, and 200 alone is the status of a whole answer`)
  const limit = endpoint.endpoint === 'sagemaker' && status === 400 ? throttlingOf(reply) : undefined
  if (limit !== undefined) throw failure(`answers ${status} (${limit})`, { lasting: false })
  if (status !== 200) throw failureOf(statuses.http, status, String(status))
  const isByGrpc = isGrpc(endpoint.address)
  if (isByGrpc) {
    const said = reply.headers?.['grpc-status']
    const code = typeof said === 'string' && /^\d{1,9}$/.test(said) ? Number(said) : undefined
    if (code === undefined) throw failure('ends its answer without a status of gRPC')
    if (code !== 0) throw failureOf(statuses.grpc, code, `with the status ${code} of gRPC`)
  }
  let answer: unknown
  try {
    answer = isByGrpc
      ? decodeInfer(body)
      : JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'))
  } catch (error) {
    throw failure(
      isByGrpc
        ? `gives an answer that cannot be used: ${(error as Error).message}`
        : 'gives an answer that is no JSON',
    )
  }
  bill.add(rows, tokensOf?.(answer))
  try {
    return decode(endpoint, answer, { rows, output, id })
  } catch (error) {
    throw failure(`gives an answer that cannot be used: ${(error as Error).message}`)
  }
}

/**
 * Names the error by which AWS limits the requests of an account, which has the status 400 as wrong requests have.
 * https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html
 */
function throttlingOf({ headers, body }: OutgoingReply): string | undefined {
  const names = [headers?.['x-amzn-errortype'], typeOf(body)]
  // The type may stand between the name of its service and an address: `com.amazon.coral#ThrottlingException:http://…`.
  const found = names.map((name) => /^(?:[^:]*#)?(\w*(?:Throttl|TooManyRequests)\w*)/.exec(String(name))?.[1])
  return found.find((name) => name !== undefined)
}

/** The `__type` of an answer of JSON. */
function typeOf(body: Uint8Array): unknown {
  try {
    const answer: unknown = JSON.parse(Buffer.from(body).toString('utf8'))
    return (answer as { __type?: unknown } | null)?.__type
  } catch {
    return undefined
  }
}

/** Names the columns without a value in rows that a server cannot compute, because many models take no missing values. */
function missingText({ columns: declared }: Endpoint, columns: Columns): string {
  const names = declared.flatMap(({ name }, at) => (columns[at]!.includes(null) ? [quoted(name)] : []))
  return names.length === 0 ? '' : ` to rows of which some have no value of ${names.join(', ')}`
}

/** What the author of the file can do about a status. */
function remedyOf({ forbidden, unknown }: Statuses, status: number, { secret }: Endpoint): string {
  if (forbidden.includes(status))
    return secret === undefined
      ? `: name a secret that it accepts as "secret" in ${endpointFileName}`
      : `: store a secret ${secret} that it accepts`
  return unknown.includes(status) ? `: correct the address or the model in ${endpointFileName}` : ''
}

function questionOf(
  endpoint: Endpoint,
  { path, headers = {}, body }: Question,
  numbers: number,
): OutgoingQuestion {
  const { address, secret, timeoutMs } = endpoint
  const limits = {
    secret,
    maxBytes: Math.min(answerBytes + outputBytes * numbers, maxAnswerBytes),
    maxMs: timeoutMs,
  }
  if (endpoint.endpoint === 'open-inference' && isGrpc(address))
    return {
      address: `${address.replace(/^grpc/, 'http').replace(/\/$/, '')}${inferPath}`,
      headers: { 'content-type': 'application/grpc', te: 'trailers', 'grpc-timeout': `${timeoutMs}m` },
      body: encodeInfer(endpoint, body as InferQuestion),
      http2: true,
      ...limits,
    }
  return {
    address: path === '' ? address : `${address.replace(/\/+$/, '')}${path}`,
    headers: { 'content-type': 'application/json', accept: 'application/json', ...headers },
    body: JSON.stringify(body),
    ...(endpoint.endpoint === 'sagemaker'
      ? { signedFor: { service: 'sagemaker', region: endpoint.region } }
      : {}),
    ...limits,
  }
}

/** Returns the values of each column of the file. The inputs of features that it does not take come last in each row. */
function columnsOf({ address, columns: declared }: Endpoint, { input, rows, texts }: ModelBatch): Columns {
  const inputs = input.length / rows
  const columns: Value[][] = declared.map(() => [])
  let at = 0
  for (let row = 0; row < rows; row++) {
    let place = row * inputs
    for (const [index, { text, vector }] of declared.entries()) {
      if (text || vector !== undefined) {
        const length = texts.readUInt32LE(at)
        const to = at + 4 + (length === noText ? 0 : length)
        const value = length === noText ? null : texts.toString('utf8', at + 4, to)
        columns[index]!.push(text || value === null ? value : (JSON.parse(value) as number[]))
        at = to
      } else {
        const value = input[place++]!
        // JSON has neither NaN, which is a missing number here, nor infinite numbers.
        if (Math.abs(value) === Infinity && !isGrpc(address))
          throw predictorError('wrong_type', 'JSON cannot send an infinite number')
        columns[index]!.push(Number.isNaN(value) ? null : value)
      }
    }
  }
  return columns
}
