/** Answers `ModelInferRequest` with the sums of its columns, by the codec of this product's own server of gRPC. */
import { decodeInfer } from '../../../api/grpc/infer-request.ts'
import { openMessage, protoMessage, protoPacked, protoText, readBytes } from '../../../api/grpc/wire.ts'

export function inferSums(request: Buffer): Buffer {
  const { inputs } = decodeInfer(request, 2)
  const columns = inputs.map(({ contents }) => readBytes(openMessage(contents!.subarray(1))))
  const [rows = 0] = inputs[0]!.shape
  const sum = (row: number) => columns.reduce((all, column) => all + column.readDoubleLE(8 * row), 0)
  const values = Buffer.from(Float64Array.from({ length: rows }, (_, row) => sum(row)).buffer)
  const tensor = [protoText(1, 'sum'), protoText(2, 'FP64'), protoPacked(3, [rows, 1])]
  return Buffer.concat([protoMessage(5, ...tensor), protoMessage(6, values)])
}
