/** Describes the answers of a version for its predictor at the edge, which knows no tasks. */
import type { AnswerForm, Output } from '../../domain/tasks/output.ts'
import { taskOf } from '../../domain/tasks/tasks.ts'

export function edgeAnswerOf(output: Output): AnswerForm {
  const { fields, noun, range, rises } = taskOf(output)
  return { fields: fields(output), noun, range: range(output), rises }
}
