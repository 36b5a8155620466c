/** Opens models that are code of Python. */
import { refuse } from '../../errors.ts'
import { inputWidthOf, type ModelDescription } from '../../features.ts'
import type { ArtifactFiles, ArtifactFormat, OpenDeps, OpenedArtifact } from '../format.ts'
import { clampProbabilities } from '../onnx/clamp-probabilities.ts'
import { textsOfCategories } from '../texts-of-categories.ts'
import { pythonFileBytes, pythonFileName, readPythonFile } from './python-file.ts'

export const pythonFormat: ArtifactFormat = {
  limits: { [pythonFileName]: pythonFileBytes },
  inspect(files) {
    const { library, columns, outputs } = readPythonFile(bytesOf(files))
    return { library, columns, outputs }
  },
  open(manifest, files, deps) {
    if (deps === undefined) refuse('the model is code of Python, which answers in a process of its own')
    return openProcess(manifest, bytesOf(files), deps)
  },
}

const bytesOf = (files: ArtifactFiles): Uint8Array =>
  files[pythonFileName] ?? refuse(`the artifact lacks ${pythonFileName}`)

async function openProcess(
  { output, preprocessing }: ModelDescription,
  bytes: Uint8Array,
  { version, runtimes }: OpenDeps,
): Promise<OpenedArtifact> {
  const { columns, python, packages } = readPythonFile(bytes)
  // The features that the model does not take come last.
  const taken = preprocessing.slice(0, columns.length)
  if (
    taken.length < columns.length ||
    taken.some(({ name, kind }, at) => {
      const column = columns[at]!
      return name !== column.name || (kind === 'category') !== column.isText
    })
  )
    refuse(`the model takes ${columns.map(({ name }) => name).join(', ')}, other columns than the manifest`)
  const takesText = preprocessing.flatMap(({ kind }, at) =>
    kind === 'category' ? [at < columns.length] : [],
  )
  const hosted = await runtimes.python.open(
    version,
    { bytes, plan: {}, needs: { python, packages } },
    { inputs: inputWidthOf(preprocessing), textsOf: textsOfCategories(takesText) },
  )
  return { predictor: clampProbabilities(hosted, output), memoryBytes: bytes.byteLength }
}
