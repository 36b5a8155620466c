/**
 * Asks the servers that take requests as OpenAI does: a completion answers each row by a prompt of its features, an embedding gives the numbers of a
 * text. https://platform.openai.com/docs/api-reference
 */
import { predictorError, refuse } from '../../errors.ts'
import { outputWidth, type Output } from '../../features.ts'
import type { EndpointOf } from './endpoint-file.ts'
import { field, numberOf, type Columns, type Protocol } from './protocol.ts'
import { placeholder, plainWord } from './words.ts'

type OpenAi = EndpointOf<'openai'>
type Completion = Extract<OpenAi, { kind: 'completion' }>

export const openai: Protocol<'openai'> = {
  encode(endpoint, columns, rows) {
    if (endpoint.kind === 'embedding') return embeddingOf(endpoint, columns, rows)
    const { model, system, prompt, json, columns: declared } = endpoint
    const { maxTokens, maxTokensField, sendTemperature, seed } = endpoint
    const values = new Map(declared.map(({ name, as = name }, at) => [as, columns[at]![0]]))
    const content = prompt.replace(placeholder, (_, name: string) => {
      const value = values.get(name) ?? ''
      return Array.isArray(value) ? JSON.stringify(value) : String(value)
    })
    return {
      path: '/chat/completions',
      body: {
        model,
        messages: [
          ...(system === undefined ? [] : [{ role: 'system', content: system }]),
          { role: 'user', content },
        ],
        ...(sendTemperature ? { temperature: 0 } : {}),
        seed,
        [maxTokensField]: maxTokens,
        ...(json === undefined ? {} : { response_format: { type: 'json_object' } }),
      },
    }
  },
  decode(endpoint, answer, { rows, output }) {
    const { revision } = endpoint
    if (revision !== undefined && field(answer, 'model') !== revision)
      throw new Error(`it is not of the model ${JSON.stringify(revision)}`)
    if (endpoint.kind === 'embedding') return embedded(endpoint, answer, rows)
    return Float32Array.from(completed(endpoint, answer, output))
  },
  tokensOf(answer) {
    const usage = field(answer, 'usage')
    const [input, output = 0] = ['prompt_tokens', 'completion_tokens'].map((name) => field(usage, name))
    return isCount(input) && isCount(output) ? { input, output } : undefined
  },
}

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0

function embeddingOf(
  { model, dimensions, sendDimensions }: EmbeddingFile,
  [texts = []]: Columns,
  rows: number,
) {
  if (texts.includes(null)) throw predictorError('wrong_type', 'a missing text has no embedding')
  const input = texts.slice(0, rows)
  const asked = sendDimensions ? { dimensions } : {}
  return { path: '/embeddings', body: { model, input, encoding_format: 'float', ...asked } }
}
type EmbeddingFile = Extract<OpenAi, { kind: 'embedding' }>

function embedded({ dimensions }: EmbeddingFile, answer: unknown, rows: number): Float32Array {
  const data = field(answer, 'data')
  if (!Array.isArray(data)) throw new Error('it has no list "data"')
  if (data.length !== rows) throw new Error(`it has ${data.length} answers for ${rows} rows`)
  const found = new Float32Array(rows * dimensions).fill(NaN)
  for (const each of data as unknown[]) {
    const [row, numbers] = [field(each, 'index'), field(each, 'embedding')]
    if (typeof row !== 'number' || !(row >= 0 && row < rows) || !Number.isInteger(row))
      throw new Error(`it has no "index" of the ${rows} rows`)
    if (!Array.isArray(numbers)) throw new Error(`its row ${row} has no list "embedding"`)
    if (numbers.length !== dimensions)
      throw new Error(`its row ${row} has ${numbers.length} numbers, and ${dimensions} are declared`)
    for (const [at, value] of numbers.entries()) found[row * dimensions + at] = numberOf(value, at, row)
  }
  const missing = found.findIndex(Number.isNaN)
  if (missing >= 0) throw new Error(`it has no row ${Math.floor(missing / dimensions)}`)
  return found
}

function completed(
  { words, json, maxTokens }: Completion,
  answer: unknown,
  output: Output,
): readonly number[] {
  const choices = field(answer, 'choices')
  const choice: unknown = Array.isArray(choices) ? choices[0] : undefined
  if (field(choice, 'finish_reason') === 'length')
    throw new Error(`it was cut after "maxTokens", ${maxTokens} tokens`)
  const content = field(field(choice, 'message'), 'content')
  if (typeof content !== 'string') throw new Error('it has no text at choices.0.message.content')
  if (json === undefined) return meaningOf(words!, content, output)
  let parsed: unknown
  try {
    parsed = JSON.parse(content)
  } catch {
    throw new Error('its text is no JSON')
  }
  const values = json.map((path) => path.split('.').reduce(field, parsed))
  if (words === undefined) return values.map((value, at) => numberOf(value, at, 0))
  const [word] = values
  if (!['string', 'boolean', 'number'].includes(typeof word)) throw new Error(`it has no word at ${json[0]}`)
  return meaningOf(words, String(word), output)
}

function meaningOf(words: Readonly<Record<string, string | number>>, text: string, output: Output): number[] {
  const plain = plainWord(text)
  const [, meaning] = Object.entries(words).find(([word]) => plainWord(word) === plain) ?? []
  if (meaning === undefined) throw new Error('it is none of the "words"')
  if (output.kind !== 'classes') return [Number(meaning)]
  return output.classes.map((name) => (name === String(meaning) ? 1 : 0))
}

/** Returns how many numbers a row gets. Throws `artifact_invalid` where words cannot answer this output. */
export function openAiWidth(endpoint: OpenAi, output: Output): number {
  if (endpoint.kind === 'embedding') return endpoint.dimensions
  const { words, json } = endpoint
  if (words === undefined) return json!.length
  const meanings = Object.values(words)
  if (output.kind === 'classes') {
    const unknown = meanings.find((name) => !output.classes.includes(String(name)))
    if (unknown !== undefined)
      refuse(
        `"words" of endpoint.json means the class ${JSON.stringify(unknown)}, and the model has ${output.classes.join(', ')}`,
      )
    const missing = output.classes.find((name) => !meanings.map(String).includes(name))
    if (missing !== undefined)
      refuse(`"words" of endpoint.json has no word for the class ${JSON.stringify(missing)}`)
  } else if (outputWidth(output) > 1 || output.kind === 'numbers' || output.kind === 'quantiles')
    refuse(
      `"words" of endpoint.json mean one number or a class, and the model has ${output.kind}: use "json"`,
    )
  else {
    const text = meanings.find((meaning) => typeof meaning !== 'number')
    if (text !== undefined)
      refuse(
        `"words" of endpoint.json means ${JSON.stringify(text)}: give the number that the word means, as the model has no classes`,
      )
  }
  return outputWidth(output)
}
