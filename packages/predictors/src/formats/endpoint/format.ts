/** Opens models that a server of others answers. Nothing is asked before the first rows. */
import { refuse } from '../../errors.ts'
import { inputWidthOf } from '../../features.ts'
import type { ArtifactFiles, ArtifactFormat } from '../format.ts'
import { clampProbabilities } from '../onnx/clamp-probabilities.ts'
import { textsOfColumns } from '../texts-of-categories.ts'
import { endpointFileBytes, endpointFileName, readEndpoint, type Endpoint } from './endpoint-file.ts'
import { widthOf } from './protocols.ts'

export const endpointFormat: ArtifactFormat = {
  limits: { [endpointFileName]: endpointFileBytes },
  columnsIn: endpointFileName,
  recognises: (head, bytes) => (/^\s*\{/.test(head) && hasProtocol(bytes) ? endpointFileName : undefined),
  inspect(files, output) {
    const file = readEndpoint(bytesOf(files))
    const { address, endpoint } = file
    return {
      library: `${endpoint} endpoint at ${new URL(address).host}`,
      columns: columnsOf(file),
      outputs: widthOf(file, output),
    }
  },
  open({ output, preprocessing }, files, deps) {
    if (deps === undefined) refuse('the model is served elsewhere, and answers no row at once')
    const bytes = bytesOf(files)
    const endpoint = readEndpoint(bytes)
    const textsOf = textsOfColumns(
      columnsOf(endpoint),
      preprocessing,
      (name) => `${endpointFileName} has other columns than the manifest, the first of them ${name}`,
    )
    const predictor = deps.runtimes.endpoints.open(deps.version, endpoint, {
      inputs: inputWidthOf(preprocessing),
      output,
      textsOf,
    })
    return Promise.resolve({
      predictor: clampProbabilities(predictor, output),
      memoryBytes: bytes.byteLength,
    })
  },
}

/** Models of trees are JSON too, and may be large: a longer file is not that of an endpoint. */
function hasProtocol(bytes: Uint8Array): boolean {
  if (bytes.byteLength > endpointFileBytes) return false
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
  try {
    return Object.hasOwn(JSON.parse(text) as object, 'endpoint')
  } catch {
    // Its reader tells what is wrong with it.
    return /"endpoint"\s*:/.test(text)
  }
}

/** The numbers of a vector come as a text, as all that is no number. */
const columnsOf = ({ columns }: Endpoint) =>
  columns.map(({ name, text, vector = 0 }) => ({
    name,
    isText: text || vector > 0,
    vector,
  }))

const bytesOf = (files: ArtifactFiles): Uint8Array =>
  files[endpointFileName] ?? refuse(`the artifact lacks ${endpointFileName}`)
