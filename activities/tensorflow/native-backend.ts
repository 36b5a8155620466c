/** Gives access to the native binding below TensorFlow.js, where a tensor is a number and an operation is one call. */
import type * as tfjs from '@tensorflow/tfjs'
import type { Tensorflow } from './tfjs.ts'

export type NativeVariable = tfjs.Variable

/** A tensor that an operation created. */
export interface MadeTensor {
  id: number
  shape: readonly number[]
}

/** An attribute of an operation; `value` is a number, a text, a boolean or a list. */
export interface OperationAttribute {
  name: string
  type: number
  value: unknown
}

/** The calls that a training step makes. */
export interface Binding {
  createTensor(shape: readonly number[], type: number, values: ArrayBufferView): number
  deleteTensor(id: number): void
  tensorDataSync(id: number): ArrayLike<number>
  executeOp(
    name: string,
    attributes: readonly OperationAttribute[],
    inputs: readonly number[],
    outputs: number,
  ): MadeTensor[]
}

export interface NativeBackend {
  binding: Binding
  /** Every variable of the process, in order of creation. */
  variables(): NativeVariable[]
  /** The number of a tensor, which is uploaded first when needed. */
  idOf(tensor: tfjs.Tensor): number
  /** Gives a variable another value of the same shape. The caller must have deleted the previous value. */
  replace(variable: NativeVariable, id: number): void
  create(shape: readonly number[], values: Float32Array): number
  delete(id: number): void
  /** Runs `work` with `spy` in place of the binding. */
  watched<T>(spy: Partial<Binding>, work: () => Promise<T>): Promise<T>
}

interface TensorRecord {
  id: number
  shape: number[]
  dtype: number
  /** Null after the first use. */
  values: ArrayBufferView | null
  refCount: number
}

/** Undefined for a library version other than the pinned one, and for another backend. */
export function nativeBackend(tf: Tensorflow): NativeBackend | undefined {
  const backend = tf.backend() as unknown as {
    binding?: Binding & { TF_FLOAT?: number }
    tensorMap?: { get(dataId: object): TensorRecord | undefined }
  }
  const { binding, tensorMap } = backend
  const { registeredVariables } = tf.engine() as unknown as {
    registeredVariables?: Record<string, NativeVariable>
  }
  const type = binding?.TF_FLOAT
  if (binding === undefined || tensorMap === undefined || type === undefined) return undefined
  if (registeredVariables === undefined) return undefined
  const recordOf = ({ dataId }: tfjs.Tensor): TensorRecord => {
    const found = tensorMap.get(dataId)
    if (found === undefined) throw new Error('the tensor has no record')
    return found
  }
  return {
    binding,
    variables: () => Object.values(registeredVariables),
    idOf(tensor) {
      const found = recordOf(tensor)
      if (found.values !== null && found.values !== undefined) {
        found.id = binding.createTensor(found.shape, found.dtype, found.values)
        found.values = null
      }
      return found.id
    },
    replace: (variable, id) => void (recordOf(variable).id = id),
    create: (shape, values) => binding.createTensor(shape, type, values),
    delete: (id) => binding.deleteTensor(id),
    async watched(spy, work) {
      backend.binding = Object.create(binding, Object.getOwnPropertyDescriptors(spy)) as typeof binding
      try {
        return await work()
      } finally {
        backend.binding = binding
      }
    },
  }
}
