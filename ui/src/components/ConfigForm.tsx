/** Run config as a form: each field edits the same YAML that the editor shows. */
import { Box, NumberInput, Select, Switch, Text, Textarea, TextInput } from "@mantine/core";
import { type Schema, shapes, typeOf, valueAt, withValue } from "../lib/config";

export function ConfigForm({
  schema,
  value,
  onChange,
}: {
  schema: Schema;
  value: string;
  onChange: (text: string) => void;
}) {
  return (
    <div style={{ padding: 10, maxHeight: 320, overflow: "auto" }}>
      <Fields schema={schema} root={schema} path={[]} value={value} onChange={onChange} />
    </div>
  );
}

type Given = { schema: Schema; root: Schema; path: string[]; value: string; onChange: (text: string) => void };

function Fields({ schema, root, path, value, onChange }: Given) {
  const shape = shapes(schema, root).find((each) => each.properties) ?? shapes(schema, root)[0] ?? {};
  const entries = Object.entries(shape.properties ?? {}).filter(
    ([name]) => !(path.length === 0 && ["execution", "loggers"].includes(name)),
  );
  return (
    <>
      {entries.map(([name, inner]) => {
        const [first = {}] = shapes(inner, root);
        const place = [...path, name];
        const isObject = first.properties !== undefined;
        if (isObject && Object.keys(first.properties ?? {}).length === 0) return null;
        if (["outputs", "inputs"].includes(name) && path[0] === "ops") return null;
        if (isObject)
          return (
            <Box
              key={name}
              component="fieldset"
              style={{ border: "1px solid var(--line)", borderRadius: 5, margin: "0 0 8px" }}
            >
              <legend>
                <Text size="sm" fw={600} span>
                  {name}
                </Text>
              </legend>
              {(inner.description ?? first.description) && (
                <Text size="xs" className="quiet">
                  {inner.description ?? first.description}
                </Text>
              )}
              <Fields schema={inner} root={root} path={place} value={value} onChange={onChange} />
            </Box>
          );
        return (
          <Field
            key={name}
            name={name}
            schema={inner}
            root={root}
            path={place}
            value={value}
            onChange={onChange}
            required={shape.required?.includes(name) ?? false}
          />
        );
      })}
    </>
  );
}

function Field({ name, schema, root, path, value, onChange, required }: Given & { name: string; required: boolean }) {
  const options = shapes(schema, root);
  const shape = options.find((each) => each.type !== "null") ?? {};
  const now = valueAt(value, path);
  const set = (given: unknown) => onChange(withValue(value, path, given));
  const description = schema.description ?? shape.description;
  const fallback = shape.default ?? schema.default;
  const common = {
    size: "xs" as const,
    label: name,
    description,
    required,
    mb: 6,
    placeholder:
      fallback !== undefined
        ? String(typeof fallback === "object" ? JSON.stringify(fallback) : fallback)
        : typeOf(shape),
  };
  if (shape.enum)
    return (
      <Select
        {...common}
        data={shape.enum.map(String)}
        value={now === undefined ? null : String(now)}
        clearable
        onChange={(text) => set(text === null ? undefined : shape.enum?.find((each) => String(each) === text))}
      />
    );
  if (shape.type === "boolean")
    return (
      <Switch
        size="xs"
        mb={8}
        label={name}
        description={description}
        checked={Boolean(now ?? fallback)}
        onChange={(event) => set(event.currentTarget.checked)}
      />
    );
  if (shape.type === "integer" || shape.type === "number")
    return (
      <NumberInput
        {...common}
        allowDecimal={shape.type === "number"}
        value={typeof now === "number" ? now : ""}
        onChange={(given) => set(given === "" ? undefined : Number(given))}
      />
    );
  if (shape.type === "string")
    return (
      <TextInput
        {...common}
        value={typeof now === "string" ? now : now === undefined ? "" : String(now)}
        onChange={(event) => set(event.currentTarget.value === "" ? undefined : event.currentTarget.value)}
      />
    );
  const json = now === undefined ? "" : JSON.stringify((now as { toJSON?: () => unknown } | null)?.toJSON?.() ?? now);
  return (
    <Textarea
      {...common}
      autosize
      minRows={1}
      key={json}
      defaultValue={json}
      onBlur={(event) => {
        const text = event.currentTarget.value;
        if (text === json) return;
        try {
          set(text === "" ? undefined : JSON.parse(text));
        } catch {
          set(text);
        }
      }}
    />
  );
}
