/** Writes rows as each protocol sends them, and reads the numbers of its answers. */
import type { Endpoint, EndpointOf, ProtocolName } from './endpoint-file.ts'

/** The rows of one request, column by column in the order of the file; null is missing. */
export type Columns = readonly (readonly (number | string | null)[])[]

export interface Question {
  /** Follows the address of the file. */
  path: string
  headers?: Readonly<Record<string, string>>
  body: object
}

export interface Protocol<Name extends ProtocolName = ProtocolName> {
  encode(endpoint: EndpointOf<Name>, columns: Columns, rows: number): Question
  /** Returns the outputs of the rows, one row after the other. Throws with what is wrong with the answer. */
  decode(endpoint: EndpointOf<Name>, answer: unknown, rows: number): Float32Array
}

const namesOf = ({ columns }: Endpoint): string[] => columns.map(({ name, as = name }) => as)

const field = (given: unknown, name: string): unknown =>
  typeof given === 'object' && given !== null && Object.hasOwn(given, name)
    ? (given as Record<string, unknown>)[name]
    : undefined

/** Throws for a value that is no finite number. */
function numberOf(value: unknown, output: number, row: number): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value
  throw new Error(`its output ${output} of row ${row} is ${shown(value)}, not a number`)
}

/** Not the text of a server, which may repeat the features. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'object' && value !== null) return 'an object'
  return typeof value === 'string' ? 'a text' : String(value ?? (value === null ? 'null' : 'missing'))
}

const rowsOf = (names: readonly string[], columns: Columns, rows: number): object[] =>
  Array.from({ length: rows }, (_, row) =>
    Object.fromEntries(names.map((name, at) => [name, columns[at]![row]!])),
  )

/** Reads each output at its place, with the number of the row in place of `*`. */
function atPaths({ outputs }: { outputs: readonly string[] }, answer: unknown, rows: number): Float32Array {
  const found = new Float32Array(rows * outputs.length)
  for (const [output, path] of outputs.entries()) {
    const [before = [], after = []] = path.split('*').map((part) => part.split('.').filter(Boolean))
    const list = before.reduce(field, answer)
    if (!Array.isArray(list)) throw new Error(`it has no list at ${before.join('.') || 'its top'}`)
    if (list.length !== rows) throw new Error(`it has ${list.length} answers for ${rows} rows`)
    for (let row = 0; row < rows; row++)
      found[row * outputs.length + output] = numberOf(after.reduce(field, list[row] as unknown), output, row)
  }
  return found
}

/** The Open Inference Protocol over HTTP: https://github.com/kserve/open-inference-protocol. */
const openInference: Protocol<'open-inference'> = {
  encode({ model, revision, columns: declared, tensor, pandas, outputs, ...rest }, columns, rows) {
    const names = namesOf({ columns: declared, ...rest } as Endpoint)
    const inputs =
      tensor === undefined
        ? names.map((name, at) => ({
            name,
            shape: [rows, 1],
            ...(declared[at]!.text
              ? { datatype: 'BYTES', parameters: { content_type: 'str' } }
              : { datatype: 'FP64' }),
            data: columns[at],
          }))
        : [
            {
              name: tensor.name,
              shape: [rows, names.length],
              datatype: tensor.datatype,
              data: Array.from({ length: rows }, (_, row) => columns.map((each) => each[row])).flat(),
            },
          ]
    return {
      path: `/v2/models/${model}${revision === undefined ? '' : `/versions/${revision}`}/infer`,
      body: {
        inputs,
        outputs: [...new Set(outputs.map(({ from }) => from))].map((name) => ({ name })),
        ...(pandas ? { parameters: { content_type: 'pd' } } : {}),
      },
    }
  },
  decode({ outputs, revision }, answer, rows) {
    const version = field(answer, 'model_version')
    if (revision !== undefined && version !== undefined && version !== null && version !== revision)
      throw new Error(`it is of another revision than ${JSON.stringify(revision)}`)
    const tensors = field(answer, 'outputs')
    if (!Array.isArray(tensors)) throw new Error('it has no list "outputs"')
    const found = new Float32Array(rows * outputs.length)
    for (const [output, { from, at }] of outputs.entries()) {
      const tensor: unknown = tensors.find((each) => field(each, 'name') === from)
      const data = field(tensor, 'data')
      if (!Array.isArray(data)) throw new Error(`it has no output ${JSON.stringify(from)}`)
      const values = data.flat() as unknown[]
      const shape = field(tensor, 'shape')
      const given = Array.isArray(shape) ? (shape[0] as unknown) : undefined
      const width = values.length / rows
      if (given !== rows || !Number.isInteger(width))
        throw new Error(
          `its output ${JSON.stringify(from)} has ${values.length} numbers in the wrong shape for ${rows} rows`,
        )
      if (at >= width)
        throw new Error(`its output ${JSON.stringify(from)} has ${width} numbers a row, and none at ${at}`)
      for (let row = 0; row < rows; row++)
        found[row * outputs.length + output] = numberOf(values[row * width + at], output, row)
    }
    return found
  },
}

const json: Protocol<'json'> = {
  encode: (endpoint, columns, rows) => ({
    path: '',
    body: { [endpoint.rows]: rowsOf(namesOf(endpoint), columns, rows) },
  }),
  decode: atPaths,
}

/** `/invocations` of a scoring server of MLflow: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally. */
const mlflow: Protocol<'mlflow'> = {
  encode: (endpoint, columns, rows) => ({
    path: '',
    body: {
      dataframe_split: {
        columns: namesOf(endpoint),
        data: Array.from({ length: rows }, (_, row) => columns.map((each) => each[row])),
      },
    },
  }),
  decode: atPaths,
}

/** InvokeEndpoint: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html. */
const sagemaker: Protocol<'sagemaker'> = {
  encode: (endpoint, columns, rows) => ({
    path: `/endpoints/${endpoint.model}/invocations`,
    headers:
      endpoint.revision === undefined ? undefined : { 'x-amzn-sagemaker-target-variant': endpoint.revision },
    body: { [endpoint.rows]: rowsOf(namesOf(endpoint), columns, rows) },
  }),
  decode: atPaths,
}

const protocols: { readonly [Name in ProtocolName]: Protocol<Name> } = {
  'open-inference': openInference,
  json,
  mlflow,
  sagemaker,
}

export const protocolOf = ({ endpoint }: Endpoint): Protocol => protocols[endpoint] as Protocol
