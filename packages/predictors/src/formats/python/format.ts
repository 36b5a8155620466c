/** Opens models that are code of Python. */
import { refuse } from '../../errors.ts'
import { inputWidthOf, type ModelDescription } from '../../features.ts'
import type { ArtifactFiles, ArtifactFormat, OpenDeps, OpenedArtifact } from '../format.ts'
import { clampProbabilities } from '../onnx/clamp-probabilities.ts'
import { textsOfColumns } from '../texts-of-categories.ts'
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
  { version, runtimes, isRedacted, checksValues, allowsOtherVersions }: OpenDeps,
): Promise<OpenedArtifact> {
  const { columns, python, packages } = readPythonFile(bytes)
  const names = columns.map(({ name }) => name).join(', ')
  const textsOf = textsOfColumns(
    columns,
    preprocessing,
    () => `the model takes ${names}, other columns than the manifest`,
  )
  const hosted = await runtimes.python.open(
    version,
    { bytes, plan: { checksValues, allowsOtherVersions }, needs: { python, packages } },
    { inputs: inputWidthOf(preprocessing), textsOf, isRedacted },
  )
  return { predictor: clampProbabilities(hosted, output), memoryBytes: bytes.byteLength }
}
