/** Builds a small TreeEnsembleRegressor for tests that damage it. */
import { graph, model, node, value, type WrittenNode } from './onnx-writer.ts'

/** Two trees with one comparison each. */
export const treeAttributes = {
  n_targets: 1,
  nodes_treeids: [0, 0, 0, 1, 1, 1],
  nodes_nodeids: [0, 1, 2, 0, 1, 2],
  nodes_featureids: [0, 0, 0, 1, 0, 0],
  nodes_modes: ['BRANCH_LEQ', 'LEAF', 'LEAF', 'BRANCH_LEQ', 'LEAF', 'LEAF'],
  nodes_values: { floats: [0.5, 0, 0, -1, 0, 0] },
  nodes_truenodeids: [1, 0, 0, 1, 0, 0],
  nodes_falsenodeids: [2, 0, 0, 2, 0, 0],
  target_treeids: [0, 0, 1, 1],
  target_nodeids: [1, 2, 1, 2],
  target_ids: [0, 0, 0, 0],
  target_weights: { floats: [1, 2, 10, 20] },
} satisfies WrittenNode['attributes']

export const treeModel = (changes: NonNullable<WrittenNode['attributes']> = {}): Buffer =>
  model(
    graph({
      inputs: [value('x', [0, 2])],
      nodes: [
        node({
          op: 'TreeEnsembleRegressor',
          domain: 'ai.onnx.ml',
          inputs: ['x'],
          outputs: ['y'],
          attributes: { ...treeAttributes, ...changes },
        }),
      ],
    }),
  )
