/** Records the native operations of one training step as operations on named values instead of tensors. */
import { createHash } from 'node:crypto'
import type { Binding, NativeBackend, NativeVariable, OperationAttribute } from './native-backend.ts'

/** Names where a value comes from. Values with equal names are equal. */
export type ValueName =
  /** Features and targets of the batch. */
  | 'x'
  | 'y'
  /** A variable before the step, by its index. */
  | `state ${number}`
  /** A tensor from before the recording, by its number. */
  | `tensor ${number}`
  /** A constant of the library, by its type, shape and bytes. */
  | `constant ${string}`
  /** The result of an operation: the index of the operation, and the index of the output. */
  | `value ${number} ${number}`

export interface RecordedConstant {
  shape: readonly number[]
  type: number
  values: ArrayBufferView
}

export interface RecordedOperation {
  name: string
  attributes: readonly OperationAttribute[]
  inputs: ValueName[]
  /** One shape per output. */
  shapes: (readonly number[])[]
}

export interface Recording {
  operations: RecordedOperation[]
  constants: Map<ValueName, RecordedConstant>
  loss: ValueName
  /** The variables, their values after the step, and the tensors that hold them. */
  variables: NativeVariable[]
  after: ValueName[]
  state: number[]
  /** Equal for equal steps. */
  text: string
}

/** Operations with their own random generator. */
const isRandom = (name: string): boolean => /random|multinomial|truncatednormal|shuffle|dropout/i.test(name)

/**
 * Undefined when a step cannot be repeated: it reads a result before its end, keeps a tensor that is not a variable, or makes calls outside
 * `Binding`.
 */
export async function recordOperations(
  backend: NativeBackend,
  given: { x: number; y: number; state: readonly number[] },
  step: () => Promise<NativeVariable[]>,
): Promise<Recording | undefined> {
  const { binding } = backend
  const names = new Map<number, ValueName>()
  given.state.forEach((id, index) => names.set(id, `state ${index}`))
  names.set(given.x, 'x').set(given.y, 'y')
  let isRepeatable = names.size === given.state.length + 2
  const made = new Set<number>()
  const deleted = new Set<number>()
  const operations: RecordedOperation[] = []
  const constants: Recording['constants'] = new Map()
  let loss: ValueName | undefined
  const nameOf = (id: number): ValueName => names.get(id) ?? `tensor ${id}`
  const refused =
    (call: (...args: never[]) => unknown) =>
    (...args: never[]) => {
      isRepeatable = false
      return call.apply(binding, args)
    }
  const others = Object.fromEntries(
    Object.entries(Object.getOwnPropertyDescriptors(binding)).flatMap(([name, { value }]) =>
      typeof value === 'function' ? [[name, refused(value as (...args: never[]) => unknown)]] : [],
    ),
  )
  const spy: Binding = {
    createTensor(shape, type, values) {
      const id = binding.createTensor(shape, type, values)
      made.add(id)
      if (!ArrayBuffer.isView(values)) {
        isRepeatable = false
        return id
      }
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
      const digest = createHash('sha256').update(bytes).digest('hex')
      const name: ValueName = `constant ${type} [${shape.join()}] ${digest}`
      names.set(id, name)
      if (!constants.has(name)) constants.set(name, { shape, type, values: structuredClone(values) })
      return id
    },
    deleteTensor(id) {
      if (!made.has(id)) deleted.add(id)
      made.delete(id)
      binding.deleteTensor(id)
    },
    tensorDataSync(id) {
      loss ??= nameOf(id)
      return binding.tensorDataSync(id)
    },
    executeOp(name, attributes, inputs, outputs) {
      const results = binding.executeOp(name, attributes, inputs, outputs)
      isRepeatable &&= loss === undefined && !isRandom(name)
      const at =
        operations.push({
          name,
          attributes,
          inputs: inputs.map(nameOf),
          shapes: results.map(({ shape }) => shape),
        }) - 1
      results.forEach(({ id }, output) => {
        made.add(id)
        names.set(id, `value ${at} ${output}`)
      })
      return results
    },
  }
  const variables = await backend.watched({ ...others, ...spy }, step)
  const state = variables.map((variable) => backend.idOf(variable))
  const after = state.map(nameOf)
  for (const id of state) made.delete(id)
  const stale = new Set(given.state.filter((id) => !state.includes(id)))
  if (
    !isRepeatable ||
    made.size > 0 ||
    variables.length !== given.state.length ||
    new Set(state).size !== state.length ||
    // Only the previous values of variables are deleted; a value that stays is deleted with its variable.
    deleted.size !== stale.size ||
    [...deleted].some((id) => !stale.has(id)) ||
    loss === undefined
  )
    return undefined
  const text = JSON.stringify([operations, loss, after])
  return { operations, constants, loss, variables, after, state, text }
}
