import type { CodegenConfig } from "@graphql-codegen/cli";

// `npm run codegen` after a change of schema.graphql or of an operation; the output is committed.
const config: CodegenConfig = {
  schema: "../orchestrator/api/schema.graphql",
  documents: "src/**/*.graphql",
  generates: {
    "src/api/gql.ts": {
      plugins: ["typescript-operations", "typed-document-node"],
      config: {
        scalars: { BigInt: "number", JSON: "any", RunConfigData: "unknown" },
        enumsAsTypes: true,
        useTypeImports: true,
        dedupeFragments: true,
      },
    },
  },
};

export default config;
