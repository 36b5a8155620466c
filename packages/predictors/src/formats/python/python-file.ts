/**
 * Reads the file of a model that is code of Python, as `job.save` of the package `tenure` or an adoption writes it. The first line says what the
 * file is, the second one describes the model as JSON, and the rest is a pickle or a tar of a folder. Both run code when they are read, so they
 * are read in the process of their version only.
 */
import { refuse } from '../../errors.ts'
import { pythonMark } from '../../format-names.ts'
import type { PythonPackages } from '../../runtime/hosts.ts'

export const pythonFileName = 'model.python'
export const pythonFileBytes = 67_108_864

const maxHeadBytes = 16_777_216
const maxColumns = 10_000

export interface PythonFile extends PythonPackages {
  /** The library of the object's class, with its version. */
  library: string
  columns: readonly { name: string; isText: boolean }[]
  /** The numbers of an answer. */
  outputs: number
}

/** Throws `artifact_invalid` with what is wrong with the description. */
export function readPythonFile(bytes: Uint8Array): PythonFile {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const from = pythonMark.length
  if (file.toString('latin1', 0, from) !== pythonMark)
    refuse(`${pythonFileName} does not begin as job.save of the package tenure writes it`)
  const to = file.subarray(0, from + maxHeadBytes).indexOf(10, from)
  if (to < 0) refuse(`${pythonFileName} has no description of its model`)
  const { python, packages, library, columns, outputs } = headOf(file.toString('utf8', from, to))
  if (typeof python !== 'string' || !/^3\.\d{1,3}\.\d{1,3}\w{0,10}$/.test(python))
    refuse(`${pythonFileName} does not name its version of Python`)
  if (!isPackages(packages)) refuse(`${pythonFileName} does not list its packages`)
  if (typeof library !== 'string' || library === '') refuse(`${pythonFileName} does not name its library`)
  if (typeof outputs !== 'number' || !Number.isSafeInteger(outputs) || outputs < 1 || outputs > 1_000)
    refuse(`${pythonFileName} does not say how many numbers an answer has`)
  if (!Array.isArray(columns) || columns.length === 0 || columns.length > maxColumns)
    refuse(`${pythonFileName} does not list 1 to ${maxColumns} columns`)
  return {
    python,
    packages,
    library: library.slice(0, 100),
    outputs,
    columns: columns.map(columnOf),
  }
}

function headOf(text: string): Record<string, unknown> {
  try {
    const head: unknown = JSON.parse(text)
    if (typeof head === 'object' && head !== null) return head as Record<string, unknown>
  } catch {}
  return refuse(`the description of ${pythonFileName} is no JSON`)
}

/** Names and versions become lines of a requirements file. */
const isPackages = (given: unknown): given is Record<string, string> =>
  typeof given === 'object' &&
  given !== null &&
  Object.entries(given).length <= 1_000 &&
  Object.entries(given).every(
    ([name, version]) =>
      /^[a-z0-9][\w.-]{0,199}$/i.test(name) &&
      typeof version === 'string' &&
      /^[\w][\w.!+-]{0,199}$/.test(version),
  )

function columnOf(given: unknown, index: number): PythonFile['columns'][number] {
  const { name, isText } = (given ?? {}) as { name?: unknown; isText?: unknown }
  if (typeof name !== 'string' || name === '') refuse(`column ${index} of ${pythonFileName} has no name`)
  return { name, isText: isText === true }
}
