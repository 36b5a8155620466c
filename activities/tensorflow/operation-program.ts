/**
 * Compiles the recorded operations of a training step: equal operations run once, and operations on constants only before the first step.
 */
import type { NativeBackend, OperationAttribute } from './native-backend.ts'
import type { RecordedOperation, Recording, ValueName } from './operation-record.ts'

interface Call {
  name: string
  attributes: readonly OperationAttribute[]
  /** The indexes of the input registers. */
  inputs: number[]
  /** The input tensors, filled in before each call. */
  ids: number[]
  outputs: number[]
  /** Registers that no later call reads. */
  last: number[]
}

export interface StepProgram {
  /** Takes one step on uploaded features and targets; returns the loss. */
  run(x: number, y: number): number
  /** Deletes the constants. */
  dispose(): void
}

/** Updates `state`, the tensors of the variables, and deletes previous values. Undefined when two variables would share a tensor. */
export function compileOperations(
  { binding }: NativeBackend,
  recording: Recording,
  state: number[],
): StepProgram | undefined {
  const { operations, constants } = recording
  const registers: number[] = []
  const owned: number[] = []
  const own = (id: number): number => {
    owned.push(id)
    return id
  }
  const places = new Map<ValueName, number>()
  const placeOf = (name: ValueName): number => {
    const known = places.get(name)
    if (known !== undefined) return known
    const constant = constants.get(name)
    const [kind, number] = name.split(' ')
    const id =
      constant === undefined
        ? kind === 'tensor'
          ? Number(number)
          : -1
        : own(binding.createTensor(constant.shape, constant.type, constant.values))
    const place = registers.push(id) - 1
    places.set(name, place)
    return place
  }
  // Equal calls and casts to the same type are found by the registers of their inputs.
  const fixed = new Set<number>()
  const results = new Map<string, number[]>()
  const calls: Call[] = []
  operations.forEach((operation, at) => {
    const inputs = operation.inputs.map(placeOf)
    operation.inputs.forEach((name, index) => {
      if (name.startsWith('constant ')) fixed.add(inputs[index]!)
    })
    const named = (outputs: number[]) =>
      outputs.forEach((place, output) => places.set(`value ${at} ${output}`, place))
    if (isSameCast(operation) || isUnchanged(operation, recording)) return named([inputs[0]!])
    const key = `${operation.name} ${JSON.stringify(operation.attributes)} ${inputs.join()}`
    const known = results.get(key)
    if (known !== undefined) return named(known)
    const outputs = Array.from({ length: operation.shapes.length }, () => registers.push(-1) - 1)
    results.set(key, outputs)
    named(outputs)
    const { name, attributes } = operation
    if (inputs.length > 0 && inputs.every((place) => fixed.has(place))) {
      const ids = inputs.map((place) => registers[place]!)
      binding.executeOp(name, attributes, ids, outputs.length).forEach(({ id }, output) => {
        registers[outputs[output]!] = own(id)
        fixed.add(outputs[output]!)
      })
    } else calls.push({ name, attributes, inputs, ids: [], outputs, last: [] })
  })
  const loss = placeOf(recording.loss)
  const before = state.map((_, index) => placeOf(`state ${index}`))
  const after = recording.after.map(placeOf)
  const [x, y] = [placeOf('x'), placeOf('y')]
  const dispose = () => owned.forEach((id) => binding.deleteTensor(id))
  const made = new Set(calls.flatMap(({ outputs }) => outputs))
  const isOwn = after.every((place, index) => place === before[index] || made.has(place))
  if (!isOwn || new Set(after).size < after.length || !made.has(loss) || after.includes(loss)) {
    dispose()
    return undefined
  }
  const needed = neededCalls(calls, new Set([loss, ...after]))
  const run = (features: number, targets: number): number => {
    registers[x] = features
    registers[y] = targets
    for (let index = 0; index < state.length; index++) registers[before[index]!] = state[index]!
    for (const { name, attributes, inputs, ids, outputs, last } of needed) {
      for (let index = 0; index < inputs.length; index++) ids[index] = registers[inputs[index]!]!
      const made = binding.executeOp(name, attributes, ids, outputs.length)
      for (let index = 0; index < outputs.length; index++) registers[outputs[index]!] = made[index]!.id
      for (const place of last) binding.deleteTensor(registers[place]!)
    }
    const value = Number(binding.tensorDataSync(registers[loss]!)[0])
    binding.deleteTensor(registers[loss]!)
    for (let index = 0; index < state.length; index++) {
      if (after[index] === before[index]) continue
      binding.deleteTensor(state[index]!)
      state[index] = registers[after[index]!]!
    }
    return value
  }
  return { run, dispose }
}

const isSameCast = ({ name, attributes }: RecordedOperation): boolean => {
  const typeOf = (wanted: string) => attributes.find((attribute) => attribute.name === wanted)?.value
  return name === 'Cast' && typeOf('SrcT') !== undefined && typeOf('SrcT') === typeOf('DstT')
}

/** Whether a call changes nothing: a reshape to the same shape, or a product or quotient with ones. */
function isUnchanged(
  { name, inputs: [input, other], shapes: [shape] }: RecordedOperation,
  { operations, constants }: Recording,
): boolean {
  const [, at, output] = input?.startsWith('value ') === true ? input.split(' ') : []
  const before = operations[Number(at)]?.shapes[Number(output)]
  if (before?.join() !== shape?.join() || other === undefined) return false
  if (name === 'Reshape') return true
  const values = constants.get(other)?.values
  return (
    (name === 'Mul' || name === 'RealDiv') &&
    values instanceof Float32Array &&
    values.every((value) => value === 1)
  )
}

/** The calls whose results are used, each with the results that no later call reads. */
function neededCalls(calls: readonly Call[], kept: ReadonlySet<number>): Call[] {
  const used = new Set(kept)
  const needed: Call[] = []
  const results = new Set(calls.flatMap(({ outputs }) => outputs))
  for (const call of calls.toReversed()) {
    if (!call.outputs.some((place) => used.has(place))) continue
    const last = [...call.inputs, ...call.outputs].filter((place) => results.has(place) && !used.has(place))
    for (const place of call.inputs) used.add(place)
    needed.push({ ...call, last: [...new Set(last)] })
  }
  return needed.reverse()
}
