/** Tests that inputs and outputs of an ONNX graph that cannot be served are refused with what to export instead. */
import { expect, it } from 'vitest'
import { openOnnx } from '../../../../../api/serving/formats/onnx/open-onnx.ts'
import { graph, message, model, node, value } from '../../../../support/formats/onnx-writer.ts'

const plain = node({ op: 'Identity', inputs: ['x'], outputs: ['y'] })
const withValues = (inputs: Buffer[], outputs?: Buffer[]): Buffer =>
  model(graph({ nodes: [plain], inputs, outputs }))

it.each<[string, Buffer, RegExp]>([
  [
    'with an input of images',
    withValues([value('x', [0, 3, 8, 8])]),
    /the input x has the shape \[any, 3, 8, 8\]/,
  ],
  ['with an input of unknown width', withValues([value('x', [0, 0])]), /does not say how many columns/],
  [
    'with an input of one row',
    withValues([value('x', [1, 4])]),
    /takes 1 rows at a time: export the model with a first dimension of any size \(PyTorch: dynamic_shapes/,
  ],
  [
    'with a constant that the converter left open',
    withValues([value('x', [0, 4]), value('norm/Sub/y:0', [1, 4])]),
    /the input norm\/Sub\/y:0 has the fixed shape \[1, 4\] .* a constant .*: make it an initializer of the graph/,
  ],
  [
    'with a number that the converter left open',
    withValues([value('scale', []), value('x', [0, 4])]),
    /the input scale has the fixed shape \[\] beside inputs of any number of rows/,
  ],
  [
    'with an input of half numbers',
    withValues([value('x', [0, 4], 10)]),
    /the input x is of the type float16; .*: keep inputs and outputs of 32 bits .*keep_io_types=True/,
  ],
  [
    'with an input that is a sequence',
    withValues([message({ 1: 'x', 2: message({ 4: message({}) }) })]),
    /the input x is not a tensor: export a matrix, or columns of shape \[None, 1\]/,
  ],
  [
    'with an input of one dimension',
    withValues([value('x', [0])]),
    /the input x has the shape \[any\]; .*: export it with the shape \[None, 1\]/,
  ],
  [
    'with an output of half numbers',
    withValues([value('x', [0, 1])], [value('y', [0, 1], 10)]),
    /the output y is of the type float16: keep inputs and outputs of 32 bits/,
  ],
  ['with a matrix of texts', withValues([value('x', [0, 4], 8)]), /matrix of texts/],
  [
    'with a matrix beside a column',
    withValues([value('x', [0, 4]), value('z', [0, 1])]),
    /x has 4 columns beside other inputs/,
  ],
  [
    'with two inputs of a name',
    withValues([value('x', [0, 1]), value('x', [0, 1])]),
    /two inputs of the ONNX graph have the same name/,
  ],
  [
    'with dictionaries',
    withValues([value('x', [0, 1])], [message({ 1: 'probabilities', 2: message({ 4: message({}) }) })]),
    /probabilities holds a sequence or dictionaries .*each of its estimators_ .*; other classifiers: zipmap=False/,
  ],
  [
    'with labels alone',
    withValues([value('x', [0, 1])], [value('label', [0], 7)]),
    /\(label\) hold labels alone/,
  ],
  [
    'with two outputs of numbers',
    withValues([value('x', [0, 1])], [value('a', [0, 1]), value('b', [0, 1])]),
    /2 outputs of numbers \(a, b\)/,
  ],
  [
    'with an output of images',
    withValues([value('x', [0, 1])], [value('y', [0, 3, 8])]),
    /the output y has the shape \[any, 3, 8\]/,
  ],
])('a graph %s is refused', (_, bytes, message) => expect(() => openOnnx(bytes)).toThrow(message))
