/** Holds the predictions of a model for the rows of an evaluation: lists of outputs, or one array for millions of rows. */
export interface AnswerMatrix {
  rows: number
  /** Outputs a row. */
  width: number
  /** Row by row. */
  values: Float32Array | Float64Array
}

export type ModelAnswers = readonly (readonly number[])[] | AnswerMatrix

const isMatrix = (answers: ModelAnswers): answers is AnswerMatrix => 'values' in answers && 'width' in answers

export const answeredRows = (answers: ModelAnswers): number =>
  isMatrix(answers) ? answers.rows : answers.length

/** Outputs of the first row; 0 without rows. */
export function answerWidth(answers: ModelAnswers): number {
  if (isMatrix(answers)) return answers.rows === 0 ? 0 : answers.width
  return answers[0]?.length ?? 0
}

/** Reads rows one after the other. The array may be the same in every call. */
export function answerReader(answers: ModelAnswers): (row: number) => readonly number[] {
  if (!isMatrix(answers)) return (row) => answers[row]!
  const { width, values } = answers
  const into = Array.from({ length: width }, () => 0)
  return (row) => {
    for (let output = 0; output < width; output++) into[output] = values[row * width + output]!
    return into
  }
}

/** The outputs at these places of each row. */
export function withOutputs(answers: ModelAnswers, places: readonly number[]): AnswerMatrix {
  const [rows, width] = [answeredRows(answers), places.length]
  const rowAt = answerReader(answers)
  const values = new Float64Array(rows * width)
  for (let row = 0; row < rows; row++) {
    const given = rowAt(row)
    for (let k = 0; k < width; k++) values[row * width + k] = given[places[k]!]!
  }
  return { rows, width, values }
}
