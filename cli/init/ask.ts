/** Asks on a terminal to confirm the inferred columns. */
import { createInterface } from 'node:readline/promises'
import { failure } from '../client/client.ts'
import { labelIssue, type InferredColumn } from '../../domain/project/infer-columns.ts'

export interface Chosen {
  label: InferredColumn
  time?: InferredColumn
}

type Question = (text: string) => Promise<string>

/** Repeats a question until the answer is a column. An empty answer takes the inferred column. */
export async function askForColumns(
  columns: readonly InferredColumn[],
  inferred: Chosen,
  question: Question,
): Promise<Chosen> {
  const find = (name: string) =>
    columns.find(({ column }) => column.toLowerCase() === name.trim().toLowerCase())
  let label = inferred.label
  for (let hint = ''; ;) {
    const answer = await question(`${hint}Which column should the model predict? [${label.column}] `)
    const found = answer.trim() === '' ? label : find(answer)
    const issue = found === undefined ? 'there is no such column' : labelIssue(found)
    if (found !== undefined && issue === undefined) {
      label = found
      break
    }
    hint = `${answer.trim()}: ${issue}. `
  }
  for (let hint = ''; ;) {
    const proposed = inferred.time?.column ?? '-'
    const answer = await question(`${hint}Which column holds the time of a row (- for none)? [${proposed}] `)
    if (answer.trim() === '') return { label, time: inferred.time }
    if (answer.trim() === '-') return { label }
    const found = find(answer)
    if (found?.use === 'time' && found !== label) return { label, time: found }
    hint = `${answer.trim()}: ${found === undefined ? 'there is no such column' : `it holds no times${found.use === 'none' ? ` (${found.why})` : ''}`}. `
  }
}

/** Runs `work` with a function that asks on this terminal. */
export async function withQuestions<T>(work: (question: Question) => Promise<T>): Promise<T> {
  const reader = createInterface({ input: process.stdin, output: process.stdout })
  try {
    return await work((text) => reader.question(text))
  } catch (error) {
    if ((error as Error).name !== 'AbortError') throw error
    throw failure({
      code: 'refused',
      detail: 'the questions ended before all were answered; nothing was written',
      remedy: 'Answer all questions, or accept the inferred columns with --yes.',
    })
  } finally {
    reader.close()
  }
}
