// Vectors of floats, and memory. Included once for each instruction set, each time in a namespace of its own.

template <typename T> struct Buffer { // of zeros; templates of the library would mix code of several instruction sets
    T *data;
    size_t size;
    explicit Buffer(size_t size) : data(static_cast<T *>(std::calloc(size, sizeof(T)))), size(size) {
        if (!data) std::abort();
    }
    Buffer(const Buffer &) = delete;
    ~Buffer() { std::free(data); }
};

template <int V> struct Lanes {
    typedef float type __attribute__((vector_size(V * sizeof(float)), aligned(sizeof(float)), may_alias));
};
template <int V> using Vector = typename Lanes<V>::type;

template <int V> static inline Vector<V> &at(float *p) { return *reinterpret_cast<Vector<V> *>(p); }
template <int V> static inline const Vector<V> &at(const float *p) { return *reinterpret_cast<const Vector<V> *>(p); }
template <int V> static inline Vector<V> all(float value) { return value - Vector<V>{}; }
