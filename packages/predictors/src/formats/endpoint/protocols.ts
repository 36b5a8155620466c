/** Writes rows as each protocol sends them, and reads the numbers of its answers. */
import type { Output } from '../../features.ts'
import type { Endpoint, ProtocolName } from './endpoint-file.ts'
import { openai, openAiWidth } from './openai.ts'
import {
  field,
  isIdOfAnother,
  namesOf,
  numberOf,
  type Columns,
  type Protocol,
  type Value,
} from './protocol.ts'

const rowsOf = (names: readonly string[], columns: Columns, rows: number): object[] =>
  Array.from({ length: rows }, (_, row) =>
    Object.fromEntries(names.map((name, at) => [name, columns[at]![row]!])),
  )

/** Reads each output at its place, with the number of the row in place of `*`. */
function atPaths(
  { outputs }: { outputs: readonly string[] },
  answer: unknown,
  { rows }: { rows: number },
): Float32Array {
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

/** The most levels of the lists of a tensor, which may also be one flat list. */
const maxDimensions = 8

/** The values of BOOL are 0 and 1 by gRPC, and JSON has others. */
const plain = (value: unknown): unknown => (typeof value === 'boolean' ? Number(value) : value)

/** The Open Inference Protocol over HTTP: https://github.com/kserve/open-inference-protocol. */
const openInference: Protocol<'open-inference'> = {
  encode(endpoint, columns, rows, id) {
    const { model, revision, columns: declared, tensor, datatype, pandas, outputs } = endpoint
    const widths = declared.map(({ vector = 1 }) => vector)
    /** The numbers of a row; those of a missing vector are missing. */
    const numbersAt = (at: number, row: number) => {
      const value = columns[at]![row]!
      return Array.isArray(value) ? (value as number[]) : Array<Value>(widths[at]!).fill(value)
    }
    const inputs =
      tensor === undefined
        ? namesOf(endpoint).map((name, at) => ({
            name,
            shape: [rows, widths[at]],
            ...(declared[at]!.text
              ? { datatype: 'BYTES', parameters: { content_type: 'str' } }
              : { datatype }),
            data: columns[at]!.flatMap((_, row) => numbersAt(at, row)),
          }))
        : [
            {
              name: tensor.name,
              shape: [rows, widths.reduce((sum, width) => sum + width)],
              datatype: tensor.datatype,
              data: Array.from({ length: rows }, (_, row) =>
                columns.flatMap((_each, at) => numbersAt(at, row)),
              ).flat(),
            },
          ]
    return {
      path: `/v2/models/${model}${revision === undefined ? '' : `/versions/${revision}`}/infer`,
      body: {
        // Models of KServe repeat it, and its server refuses an answer without one.
        id,
        inputs,
        outputs: [...new Set(outputs.map(({ from }) => from))].map((name) => ({ name })),
        ...(pandas ? { parameters: { content_type: 'pd' } } : {}),
      },
    }
  },
  decode({ outputs, revision }, answer, { rows, id }) {
    const repeated = field(answer, 'id')
    if (typeof repeated === 'string' && isIdOfAnother(repeated, id))
      throw new Error(
        'it has the "id" of another request: the server must not mix up the answers of its requests',
      )
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
      const values = data.flat(maxDimensions) as unknown[]
      const shape = field(tensor, 'shape')
      const sizes = Array.isArray(shape) ? shape.map(Number) : []
      const width = values.length / rows
      if (sizes[0] !== rows || sizes.reduce((product, size) => product * size) !== values.length)
        throw new Error(
          `its output ${JSON.stringify(from)} has ${values.length} numbers in the wrong shape for ${rows} rows`,
        )
      if (at >= width)
        throw new Error(`its output ${JSON.stringify(from)} has ${width} numbers a row, and none at ${at}`)
      for (let row = 0; row < rows; row++)
        found[row * outputs.length + output] = numberOf(plain(values[row * width + at]), output, row)
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
  openai,
}

export const protocolOf = ({ endpoint }: Endpoint): Protocol => protocols[endpoint] as Protocol

/** Returns how many numbers a row gets. Throws `artifact_invalid` for an answer that the model cannot have. */
export const widthOf = (endpoint: Endpoint, output: Output): number =>
  endpoint.endpoint === 'openai' ? openAiWidth(endpoint, output) : endpoint.outputs.length
